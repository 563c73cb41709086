import type { ChainName } from './state.ts';

/**
 * The chain of filter that keeps strangers from the listeners of userspace mode. What a proxy of that mode has left there
 * would keep them from whoever listens at these ports later, so other modes remove it.
 */
export const userspaceGuard = 'KUBE-USERSPACE' as ChainName;
