import type { Clock } from '../../clock.ts';
import { createAnswer } from '../../informer/api-answer.ts';
import type { ApiWriter } from '../../informer/api-client.ts';
import { SwitchyardError } from '../../error.ts';
import { isRaw } from '../../services/field-reader.ts';
import { AtOnce } from '../at-once.ts';
import { patientWriter } from './patience.ts';
import type { IssuedToken, RequestToken } from './tokens.ts';

/** Each on its way has a connection with all that TLS needs: a hundred pods that come at once must not make a hundred of them. */
const mostAtOnce = 8;
const subject = { group: '', resource: 'serviceaccounts/token' };

/** Asks the API server for tokens, as the TokenRequest API has it (authentication.k8s.io/v1). */
export function tokenRequester(given: ApiWriter, clock: Pick<Clock, 'sleep'>): RequestToken {
  const atOnce = new AtOnce(mostAtOnce);
  const inTurn: ApiWriter = {
    server: given.server,
    send: async (verb, path, value, signal) =>
      atOnce.with(signal, async () => given.send(verb, path, value, signal)),
    reloadCredentials: async () => given.reloadCredentials(),
  };
  const client = patientWriter(inTurn, clock);
  return async (wish, signal): Promise<IssuedToken> => {
    const { namespace, serviceAccount, audience, expirationSeconds, pod } = wish;
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`;
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        ...(audience !== '' && { audiences: [audience] }),
        expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid },
      },
    };
    const answer = await createAnswer(client, path, body, subject, signal);
    if (answer.status === 401) await client.reloadCredentials();
    if (answer.value === undefined) {
      throw new SwitchyardError('source', answer.reason, { retryable: true });
    }
    return issued(answer.value, expirationSeconds);
  };
}

function issued(value: unknown, askedSeconds: number): IssuedToken {
  const status = isRaw(value) && isRaw(value['status']) ? value['status'] : {};
  const spec = isRaw(value) && isRaw(value['spec']) ? value['spec'] : {};
  const { token } = status;
  const { expirationSeconds: seconds } = spec;
  if (typeof token !== 'string' || token === '') {
    throw new SwitchyardError('source', 'the answer to a TokenRequest has no token', {
      retryable: true,
    });
  }
  return { token, lifeMs: (typeof seconds === 'number' ? seconds : askedSeconds) * 1000 };
}
