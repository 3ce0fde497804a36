import { createServer, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { listen } from './listen.ts';

export interface ForwardProxyOptions {
  /** Names that only the proxy knows, and what they mean: `127.0.0.1`. All others are refused with 403. */
  names: Record<string, string>;
  /** Without this `Proxy-Authorization`, all requests are answered with 407. */
  authorization?: string;
}

/** A proxy as companies have them: CONNECT for HTTPS, whole URLs for HTTP, and names resolved by itself. */
export async function startForwardProxy({ names, authorization }: ForwardProxyOptions) {
  /** The received requests: `CONNECT host:port` and `GET http://host/…`. */
  const asked: string[] = [];
  const authorizations = new Set<string | undefined>();
  const record = ({ method, url, headers }: IncomingMessage): URL => {
    asked.push(`${method} ${url}`);
    authorizations.add(headers['proxy-authorization']);
    return new URL(method === 'CONNECT' ? `https://${url}` : (url ?? ''));
  };
  const isWelcome = ({ headers }: IncomingMessage): boolean =>
    authorization === undefined || headers['proxy-authorization'] === authorization;
  const sockets = new Set<Duplex>();
  const server = createServer((client, response) => {
    const target = record(client);
    if (!isWelcome(client))
      return void response.writeHead(407, { 'proxy-authenticate': 'Basic realm="proxy"' }).end();
    const host = names[target.hostname];
    if (host === undefined) return void response.writeHead(403).end();
    const { port, pathname, search } = target;
    const options = { host, port, path: `${pathname}${search}`, method: client.method, agent: false };
    const onward = request({ ...options, headers: client.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.once('error', () => response.destroy());
    response.once('close', () => onward.destroy());
    client.pipe(onward);
  });
  server.on('connection', (socket) => sockets.add(socket));
  server.on('connect', (client: IncomingMessage, socket: Duplex) => {
    const { hostname, port } = record(client);
    if (!isWelcome(client))
      return void socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
    const host = names[hostname];
    if (host === undefined) return void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    const onward = connect(Number(port || 443), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    sockets.add(onward);
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      one.once('error', () => other.destroy()).once('close', () => other.destroy());
    }
  });
  const listening = await listen(server);
  return { ...listening, url: `http://${listening.host}`, asked, authorizations };
}
