import { createServer, type Socket } from 'node:net';
import { createSecureContext, type SecureContextOptions, TLSSocket } from 'node:tls';
import { listen } from './listen.ts';

/** Bytes to write, and whether the connection ends after them. Without bytes, the connection is reset. */
export type RawAnswer = { readonly bytes: string; readonly ends?: boolean } | 'reset';

export interface RawServer extends AsyncDisposable {
  origin: string;
  host: string;
  /** The head of each request so far, and which connection brought it, counted from 0. */
  requests: { readonly head: string; readonly connection: number }[];
}

/**
 * Answers requests, which have no body, with bytes that need not be HTTP.
 *
 * @param answer by the number of the request, counted from 0, and of the request on its connection
 */
export async function startRawServer(
  answer: (request: number, onConnection: number, head: string) => RawAnswer,
  tls?: SecureContextOptions,
): Promise<RawServer> {
  const requests: RawServer['requests'] = [];
  let connections = 0;
  const secureContext = tls && createSecureContext(tls);
  const serve = (transport: Socket): void => {
    const socket = secureContext ? new TLSSocket(transport, { isServer: true, secureContext }) : transport;
    const connection = connections++;
    let [text, own] = ['', 0];
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end === -1) return;
      const head = text.slice(0, end);
      text = text.slice(end + 4);
      const chosen = answer(requests.length, own++, head);
      requests.push({ head, connection });
      if (chosen === 'reset') return void transport.resetAndDestroy();
      if (chosen.ends === true) socket.end(chosen.bytes, 'latin1');
      else socket.write(chosen.bytes, 'latin1');
    });
  };
  const server = createServer(serve);
  const listening = await listen(server);
  return { ...listening, origin: `${tls === undefined ? 'http' : 'https'}://${listening.host}`, requests };
}
