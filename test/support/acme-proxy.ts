import { readFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { createServer, request } from 'node:https';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { listen } from './listen.ts';
import type { Pebble } from './pebble.ts';

/** A fault of the authority. */
export interface AcmeFault {
  /** The requests that are affected; all by default. */
  path?: RegExp;
  /** If absent, it accepts the request and never responds. */
  status?: number;
  headers?: Record<string, string>;
  problem?: string;
}

/** A response of the authority that may be changed before it is passed on. */
export interface AcmeAnswer {
  path: string;
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** A proxy between an ACME client and pebble that injects faults on demand. */
export interface AcmeProxy extends AsyncDisposable {
  directory: string;
  /** Undefined passes requests on. */
  fault: AcmeFault | undefined;
  /** Changes responses. */
  alter: ((answer: AcmeAnswer) => void) | undefined;
  /** Milliseconds that each request waits before it is passed on. */
  delay: number;
  /** Each request waits for it before it is passed on. */
  opened: Promise<void>;
  /** Methods and paths of all requests so far. */
  requests: string[];
  /** The payloads of signed requests whose path contains a text. */
  payloads: (path: string) => Record<string, unknown>[];
  /** Types of the problems that pebble itself has answered with so far. */
  problems: string[];
}

export async function startAcmeProxy(pebble: Pebble): Promise<AcmeProxy> {
  const [cert, key] = [await readFile(pebble.server.cert), await readFile(pebble.server.key)];
  const signed: { path: string; payload: Record<string, unknown> }[] = [];
  const state: Omit<AcmeProxy, 'directory' | keyof AsyncDisposable> = {
    fault: undefined,
    alter: undefined,
    delay: 0,
    opened: Promise.resolve(),
    requests: [],
    payloads: (path) => signed.filter((each) => each.path.includes(path)).map(({ payload }) => payload),
    problems: [],
  };
  const server = createServer({ cert, key }, async (incoming, outgoing) => {
    state.requests.push(`${incoming.method} ${incoming.url}`);
    const { fault } = state;
    if (fault !== undefined && (fault.path?.test(incoming.url ?? '') ?? true)) {
      if (fault.status === undefined) return;
      outgoing.writeHead(fault.status, { 'content-type': 'application/problem+json', ...fault.headers });
      outgoing.end(JSON.stringify({ type: fault.problem ?? 'about:blank', detail: 'Come back later.' }));
      return;
    }
    await state.opened;
    await pause(state.delay);
    // Keeps the Host header, because pebble builds its URLs from it, and signed requests contain them.
    const { method, url: path, headers } = incoming;
    const target = { host: '127.0.0.1', port: pebble.port, method, path, headers, rejectUnauthorized: false };
    const forwarded = request({ ...target, agent: false }, async (answer) => {
      const passed: AcmeAnswer = {
        ...{ path: path ?? '', status: answer.statusCode ?? 502 },
        ...{ headers: { ...answer.headers }, body: await text(answer) },
      };
      state.alter?.(passed);
      if (isProblem(passed)) state.problems.push(JSON.parse(passed.body).type);
      const isHead = method === 'HEAD';
      delete passed.headers['transfer-encoding'];
      if (!isHead) passed.headers['content-length'] = `${Buffer.byteLength(passed.body)}`;
      outgoing.writeHead(passed.status, passed.headers).end(isHead ? undefined : passed.body);
    });
    forwarded.once('error', () => outgoing.destroy());
    const sent = await text(incoming).catch(() => undefined);
    if (sent === undefined) {
      forwarded.destroy();
      return;
    }
    forwarded.end(sent);
    const { payload } = Object(sent === '' ? undefined : JSON.parse(sent)) as { payload?: string };
    if (payload) {
      signed.push({ path: path ?? '', payload: JSON.parse(Buffer.from(payload, 'base64url').toString()) });
    }
  });
  const listening = await listen(server);
  return Object.assign(state, listening, { directory: `https://${listening.host}/dir` });
}

function isProblem({ headers }: AcmeAnswer): boolean {
  return headers['content-type']?.startsWith('application/problem+json') ?? false;
}
