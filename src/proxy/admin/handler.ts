import type { IncomingMessage, ServerResponse } from 'node:http';
import { SwitchyardError, errorText } from '../../error.ts';
import type { AskedFamily } from '../../graph/journey.ts';
import { answerQuestion } from '../../graph/question.ts';
import { familyLabel } from '../../ip/address.ts';
import type { Family } from '../../ip/address.ts';
import { requestUrl } from '../../telemetry/http-server.ts';
import type { HttpHandler } from '../../telemetry/http-server.ts';
import { desiredLines } from './desired.ts';
import type { DesiredAnswer } from './desired.ts';
import { writeLines } from './lines.ts';
import type { StatusDocument } from './status-document.ts';

/** What can be asked of an agent. */
export interface AdminView {
  readonly version: string;
  status(): StatusDocument;
  /** What a family's rules were made of last; undefined: there are none. Views, to be read at once. */
  asked(family: Family): AskedFamily | undefined;
  /** What a family's rules shall be; undefined: there are none yet. */
  desired(family: Family): DesiredAnswer | undefined;
}

type Route = (url: URL, response: ServerResponse, view: AdminView) => Promise<void> | void;

const routes: Readonly<Record<string, Route>> = {
  '/v1/status': (_url, response, view) => {
    sendJson(response, 200, view.status());
  },
  '/v1/explain': ({ searchParams }, response, view) => {
    const given = (name: string): string => searchParams.get(name) ?? '';
    const question = {
      from: given('from'),
      to: given('to'),
      family: given('family'),
      inInterface: given('in-interface'),
      output: given('output') === 'json' ? ('json' as const) : ('text' as const),
    };
    const answer = answerQuestion(question, (family) => view.asked(family), 'the agent');
    sendJson(response, 200, { answer });
  },
  '/v1/desired': async ({ searchParams }, response, view) => {
    const family = searchParams.get('family') === 'ipv6' ? 'ipv6' : 'ipv4';
    const desired = view.desired(family);
    if (desired === undefined) {
      const what = `no rules are wanted for ${familyLabel(family)}`;
      const hint = 'switchyard status says how far it is; without portals there are no rules';
      throw new SwitchyardError('missing', what, { hint });
    }
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
    await writeLines(response, desiredLines(desired));
  },
};

/** Answers what the agent is asked: HTTP GET, JSON. */
export function adminHandler(view: AdminView): HttpHandler {
  return (request, response) => {
    void respond(request, response, view);
  };
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  view: AdminView,
): Promise<void> {
  response.setHeader('Switchyard-Version', view.version);
  const url = requestUrl(request);
  const route = request.method === 'GET' ? routes[url.pathname] : undefined;
  try {
    if (route === undefined) {
      const known = Object.keys(routes).join(', ');
      throw new SwitchyardError(
        'missing',
        `${request.method} ${url.pathname}: expected GET of ${known}`,
      );
    }
    await route(url, response, view);
  } catch (error) {
    refuse(response, error);
  }
}

const statusCodes: Readonly<Partial<Record<string, number>>> = { usage: 400, missing: 404 };

function refuse(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy(); // half an answer must not pass for one
    return;
  }
  const { code, hint } =
    error instanceof SwitchyardError ? error : { code: 'internal', hint: undefined };
  sendJson(response, statusCodes[code] ?? 500, {
    error: { code, message: errorText(error), hint },
  });
}

function sendJson(response: ServerResponse, code: number, document: object): void {
  response.writeHead(code, { 'Content-Type': 'application/json' });
  response.end(`${JSON.stringify(document)}\n`);
}
