import { createServer, type IncomingMessage } from 'node:http';
import { listen } from './listen.ts';

/** A registry without content that redirects clients to another one. */
export interface Redirector extends AsyncDisposable {
  host: string;
  requests: IncomingMessage[];
  /** The URL that replaces `/v2/any/app` in the next requests. */
  target: string;
  /** The authorization that it requires before it redirects, and the realm that issues it. */
  wants: { authorization: string; challenge: string } | undefined;
}

export async function startRedirector(): Promise<Redirector> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    const { wants } = redirector;
    if (wants !== undefined && request.headers.authorization !== wants.authorization) {
      return void response.writeHead(401, { 'www-authenticate': wants.challenge }).end();
    }
    const location = (request.url ?? '').replace(/^\/v2\/any\/app/, redirector.target);
    response.writeHead(307, { location }).end();
  });
  const redirector: Redirector = { ...(await listen(server)), requests, target: '', wants: undefined };
  return redirector;
}
