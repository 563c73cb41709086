import type { Backend } from './backend.ts';

/** A backend with something around its syncs; all else is the inner one's. */
export class BackendAround implements Backend {
  protected readonly inner: Backend;

  constructor(inner: Backend) {
    this.inner = inner;
  }

  get mode(): Backend['mode'] {
    return this.inner.mode;
  }

  async sync(...args: Parameters<Backend['sync']>): ReturnType<Backend['sync']> {
    return this.inner.sync(...args);
  }

  async audit(signal: AbortSignal): Promise<string | undefined> {
    return this.inner.audit(signal);
  }

  inFront(): readonly string[] {
    return this.inner.inFront?.() ?? [];
  }

  invalidate(): void {
    this.inner.invalidate();
  }

  desired(): ReturnType<Backend['desired']> {
    return this.inner.desired();
  }

  async ended(): Promise<void> {
    await this.inner.ended?.();
  }
}
