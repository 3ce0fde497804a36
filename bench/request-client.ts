import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { median } from './figures.ts';

/** Connections at once, each with one request at a time. */
const CONNECTIONS = 16;

/** The time of many requests. */
export interface RequestTimes {
  /** Seconds of all together. */
  readonly seconds: number;
  /** Milliseconds of one, in the median. */
  readonly median: number;
}

/**
 * Sends GET requests over a few connections that stay open. It reads no more of a response than its length: a
 * full HTTP client would take more CPU time than the server.
 *
 * @param ca the certificate of the server, in PEM
 * @throws Error if a response has a status of 400 or more, or no Content-Length
 */
export async function sendRequests(
  url: string,
  count: number,
  ca: Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<RequestTimes> {
  const { host, hostname, port, pathname, search } = new URL(url);
  const lines = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}`);
  const request = `GET ${pathname}${search} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
  const milliseconds: number[] = [];
  let left = count;
  const client = async (): Promise<void> => {
    const socket = connect({ host: hostname, port: Number(port), ca });
    await once(socket, 'secureConnect');
    const responses = readResponses(socket);
    while (left-- > 0) {
      const began = performance.now();
      socket.write(request);
      const { value: status = 0 } = await responses.next();
      if (status < 200 || status >= 400) throw new Error(`${url} answers ${status}`);
      milliseconds.push(performance.now() - began);
    }
    socket.destroy();
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: CONNECTIONS }, client));
  return { seconds: (performance.now() - began) / 1000, median: median(milliseconds) };
}

/** The status of each response, once it has arrived. */
async function* readResponses(socket: TLSSocket): AsyncGenerator<number, void> {
  let text = '';
  for await (const chunk of socket.setEncoding('latin1')) {
    text += chunk;
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) continue;
    const [, length] = /^content-length: (\d+)\r$/im.exec(text.slice(0, end + 1)) ?? [];
    if (length === undefined) throw new Error(`A response has no Content-Length: ${text.slice(0, end)}`);
    if (text.length < end + 4 + Number(length)) continue;
    yield Number(text.slice(9, 12));
    text = '';
  }
}
