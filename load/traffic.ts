import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';

/** A kind of request, and its expected outcome. */
export interface Kind {
  name: string;
  /** The percentage of requests of this kind. */
  share: number;
  /** Sends one request and reports its outcome: a status, or undefined if the connection closed without one. */
  send(count: number): Promise<Answer>;
  /** The expected statuses. */
  right: readonly (number | undefined)[];
}

export interface Answer {
  status: number | undefined;
  /** The expected error code. */
  code?: string | undefined;
}

export interface Tally {
  sent: number;
  answered: number;
  /** The unexpected outcomes by kind and answer, with their counts. */
  wrong: Map<string, number>;
  /** Failures of the service that no request may cause: 500, and 503 because of overload. */
  ours: number;
  /** The durations of correct responses to valid requests, in milliseconds. */
  latencies: number[];
}

const TICK_MS = 20;

/** Sends requests of all kinds at a rate a second, for a number of seconds, and waits for the answers. */
export async function sendTraffic(kinds: readonly Kind[], rate: number, seconds: number): Promise<Tally> {
  const tally: Tally = { sent: 0, answered: 0, wrong: new Map(), ours: 0, latencies: [] };
  const deck = kinds.flatMap((kind) => Array<Kind>(kind.share).fill(kind));
  const open = new Set<Promise<void>>();
  const begun = performance.now();

  const one = async (kind: Kind, count: number): Promise<void> => {
    const started = performance.now();
    const { status, code } = await kind.send(count).catch(() => ({ status: -1, code: 'no answer' }));
    tally.answered += 1;
    if (status === 500 || code === 'internal-error' || code === 'overloaded') tally.ours += 1;
    if (!kind.right.includes(status)) {
      const what = `${kind.name}: ${code ?? status ?? 'closed'}`;
      tally.wrong.set(what, (tally.wrong.get(what) ?? 0) + 1);
    } else if (status !== undefined && status < 400) tally.latencies.push(performance.now() - started);
  };

  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - begun) / 1000) * rate);
    while (tally.sent < due) {
      const count = tally.sent++;
      // A step without a common factor with the length visits all entries.
      const kind = deck[(count * 37) % deck.length];
      if (kind === undefined) return;
      const sending = one(kind, count).finally(() => open.delete(sending));
      open.add(sending);
    }
  }, TICK_MS);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  clearInterval(timer);
  await Promise.all(open);
  return tally;
}

/** Sends valid requests over a few reused connections. */
export function createCaller(origin: URL): {
  call(method: string, path: string, headers?: Record<string, string>): Promise<Answer>;
  close(): void;
} {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  return {
    call: (method, path, headers = {}) =>
      new Promise((resolve, reject) => {
        const call = request(new URL(path, origin), { method, headers, agent });
        call.once('error', reject).once('response', (response) => {
          const chunks: Buffer[] = [];
          const { statusCode: status = 0 } = response;
          response.on('data', (chunk: Buffer) => status >= 400 && chunks.push(chunk));
          response.once('error', reject).once('end', () => {
            const text = String(Buffer.concat(chunks));
            resolve({ status, code: /"code":"([a-z-]+)"/.exec(text)?.[1] });
          });
        });
        call.end();
      }),
    close: () => agent.destroy(),
  };
}

/** Sends bytes that need not be HTTP; the first answer's status, or undefined if absent. */
export async function sendRaw({ hostname, port }: URL, bytes: string): Promise<Answer> {
  const socket = connect(Number(port), hostname);
  let text = '';
  socket
    .on('error', () => {})
    .on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
  socket.write(bytes, 'latin1');
  await once(socket, 'close');
  const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
  return { status: status === undefined ? undefined : Number(status) };
}

/** Sends bytes and disconnects after the first response bytes, or after a while. */
export async function sendAndLeave(
  { hostname, port }: URL,
  bytes: string,
  patience: number,
): Promise<Answer> {
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {}).write(bytes);
  const timer = setTimeout(() => socket.destroy(), patience);
  socket.once('data', () => socket.destroy());
  await once(socket, 'close');
  clearTimeout(timer);
  return { status: undefined };
}
