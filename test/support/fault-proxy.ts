import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { cut, damage } from './fault-body.ts';
import { type Listening, listen } from './listen.ts';

/** Offsets count bytes of the body of this very response, not of the whole blob. */
export type Fault =
  /** Closes the connection without any answer. */
  | { kind: 'drop' }
  /** Destroys the connection once `after` body bytes were sent. */
  | { kind: 'cut'; after: number }
  /** Inverts one bit of the byte at `at`. */
  | { kind: 'flip'; at: number }
  /** Sends `after` body bytes and then nothing; goes on if `until` settles, else when the client gives up. */
  | { kind: 'stall'; after: number; until?: Promise<unknown> }
  /** Forwards the request only after the promise settles. */
  | { kind: 'hold'; until: Promise<unknown> }
  /** Asks for the whole body and answers 200, whatever range the client wanted. */
  | { kind: 'ignore-range' }
  /** Answers 307 to another origin, which then serves the same path. */
  | { kind: 'redirect' }
  | {
      kind: 'answer';
      status: number;
      headers?: Record<string, string | string[]>;
      body?: string | Uint8Array;
    }
  /** Leaves response headers out. */
  | { kind: 'strip'; headers: string[] };

export interface ProxiedRequest {
  /** The listener that received it: the stand-in for the registry, or the target of redirects. */
  origin: 'registry' | 'elsewhere';
  method: string;
  /** The requested path and query; after a redirect, those of the original request. */
  path: string;
  headers: IncomingMessage['headers'];
  /** 0 until the response begins. */
  readonly status: number;
  /** Body bytes handed to the socket so far. */
  sent: number;
  state: 'open' | 'finished' | 'aborted by client' | 'cut by proxy';
}

/** Returns the fault for a request; undefined forwards it unchanged. */
export type FaultHook = (request: ProxiedRequest) => Fault | Fault[] | undefined;

export interface FaultProxy extends AsyncDisposable {
  host: string;
  url: string;
  /** The origin that redirects point to. */
  elsewhere: string;
  requests: ProxiedRequest[];
  /** Replaces the hook from the next request on. */
  inject(hook: FaultHook | undefined): void;
  close(): Promise<void>;
}

/**
 * Starts a proxy in front of a real registry (its http:// URL) that forwards all requests and breaks the chosen ones.
 */
export async function startFaultProxy(
  upstream: string,
  options: { hook?: FaultHook; address?: string } = {},
): Promise<FaultProxy> {
  const address = options.address ?? '127.0.0.1';
  let hook = options.hook;
  const requests: ProxiedRequest[] = [];
  /** As a signed address does in the real world, a ticket carries the permission to read a blob. */
  const tickets = new Map<string, { path: string; authorization: string | undefined }>();

  const serve = async (
    client: IncomingMessage,
    response: ServerResponse,
    origin: ProxiedRequest['origin'],
  ) => {
    const ticket = origin === 'elsewhere' ? tickets.get((client.url ?? '').slice(1)) : undefined;
    const path = ticket?.path ?? client.url ?? '/';
    const record = recordOf(client, response, origin, path);
    requests.push(record);
    // As object stores do: a signed address and an Authorization header together are refused.
    if (origin === 'elsewhere' && client.headers.authorization) return void response.writeHead(400).end();
    if (origin === 'elsewhere' && !ticket) return void response.writeHead(403).end();
    const chosen = hook?.(record) ?? [];
    const faults = Array.isArray(chosen) ? chosen : [chosen];
    await Promise.all(faults.map((fault) => (fault.kind === 'hold' ? fault.until : undefined)));
    if (faults.some((fault) => fault.kind === 'drop')) return void cut(response, record);
    const answer = faults.find((fault) => fault.kind === 'answer');
    if (answer) return void response.writeHead(answer.status, answer.headers).end(answer.body);
    const headers = { ...client.headers };
    if (ticket) headers.host = new URL(upstream).host;
    if (ticket?.authorization) headers.authorization = ticket.authorization;
    if (faults.some((fault) => fault.kind === 'redirect') && origin === 'registry') {
      const id = randomUUID();
      tickets.set(id, { path, authorization: client.headers.authorization });
      return void response.writeHead(307, { location: `http://${elsewhere.host}/${id}` }).end();
    }
    forward(new URL(path, upstream), client, headers, response, record, faults);
  };

  const start = (origin: ProxiedRequest['origin']): Promise<Listening> =>
    listen(
      createServer((client, response) => {
        serve(client, response, origin).catch((error) => {
          response.destroy();
          throw error;
        });
      }),
      address,
    );
  const front = await start('registry');
  const elsewhere = await start('elsewhere');
  const close = async () => {
    for (const server of [front, elsewhere]) await server[Symbol.asyncDispose]();
  };
  return {
    host: front.host,
    url: `http://${front.host}`,
    elsewhere: `http://${elsewhere.host}`,
    requests,
    inject: (next) => {
      hook = next;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

function forward(
  target: URL,
  client: IncomingMessage,
  headers: IncomingMessage['headers'],
  response: ServerResponse,
  record: ProxiedRequest,
  faults: Fault[],
): void {
  if (faults.some((fault) => fault.kind === 'ignore-range')) {
    delete headers.range;
    delete headers['if-range'];
  }
  const stripped = faults.flatMap((fault) => (fault.kind === 'strip' ? fault.headers : []));
  const onward = request(target, { method: client.method, headers, agent: false });
  onward.once('response', (answer) => {
    for (const [name, value] of Object.entries(answer.headersDistinct)) {
      const isStripped = stripped.some((one) => one.toLowerCase() === name);
      if (!isStripped && name !== 'connection' && value) response.setHeader(name, value);
    }
    response.writeHead(answer.statusCode ?? 502);
    void damage(answer, response, record, faults);
  });
  // The registry has disconnected, so close this response, too.
  onward.once('error', () => response.destroy());
  response.once('close', () => onward.destroy());
  client.pipe(onward);
}

function recordOf(
  client: IncomingMessage,
  response: ServerResponse,
  origin: ProxiedRequest['origin'],
  path: string,
): ProxiedRequest {
  const record: ProxiedRequest = {
    origin,
    method: client.method ?? 'GET',
    path,
    headers: client.headers,
    get status() {
      return response.headersSent ? response.statusCode : 0;
    },
    sent: 0,
    state: 'open',
  };
  response.once('close', () => {
    if (record.state === 'open') record.state = response.writableFinished ? 'finished' : 'aborted by client';
  });
  return record;
}
