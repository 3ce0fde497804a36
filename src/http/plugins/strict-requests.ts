import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { isAtHost, parseHost } from '../protocol/host-header.ts';

/** Characters. Ten of the longest references, percent-encoded, fit. */
const URL_MAX = 8 * 1024;
/** Maximum bytes of a form. */
const FORM_MAX = 8 * 1024;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True if the route takes a form by POST. */
    takesForm?: boolean;
  }
}
/** Maximum requests in flight of one connection, because pipelined requests are processed concurrently. */
const PIPELINED_MAX = 8;

/**
 * Refuses requests that no client of this service needs, and those that two readers could understand in two ways. These
 * are other methods, bodies, HTTP versions other than 1.0 and 1.1, anything but one host, and dozens of pipelined
 * requests. Call it on the root instance.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-11.2
 */
export function refuseOddRequests(app: FastifyInstance): void {
  const closing = new WeakSet<Socket>();
  const isHost = rememberingLast((host) => parseHost(host) !== undefined);
  const underWay = new WeakMap<Socket, number>();
  const count = (socket: Socket, more: number): number => {
    const now = (underWay.get(socket) ?? 0) + more;
    underWay.set(socket, now);
    return now;
  };

  /** Do not parse further bytes of the connection. */
  const end = ({ raw }: FastifyRequest, reply: FastifyReply): void => {
    closing.add(raw.socket);
    reply.header('connection', 'close');
  };

  // No client is asked to send a body, and no download needs an unknown expectation.
  for (const event of ['checkContinue', 'checkExpectation']) {
    app.server.on(event, (request, response) => app.server.emit('request', request, response));
  }
  app.addHook('onRequest', (request, reply, done) => {
    const { method, raw } = request;
    const { socket } = raw;
    const isOneTooMany = count(socket, 1) > PIPELINED_MAX;
    // More parts of a download wait for its end than Node.js expects.
    reply.raw.setMaxListeners(20).on('close', () => count(socket, -1));
    const refusal = isOneTooMany || closing.has(socket) ? tooMany() : refusalOf(request, isHost);
    if (refusal === undefined) return done();
    end(request, reply);
    if (method === 'GET' || method === 'HEAD' || takesForm(request)) throw refusal;
    done();
  });
}

/**
 * Refuses other methods and long URLs. Call it on the root instance, after the limits: these connections stay open, so
 * each refusal must count.
 */
export function refuseOtherRequests(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const { method, raw } = request;
    if (method !== 'GET' && method !== 'HEAD' && !takesForm(request)) {
      const [url = ''] = (raw.url ?? '').split('?');
      const allow = app.hasRoute({ method: 'POST', url }) ? 'GET, HEAD, POST' : 'GET, HEAD';
      throw new ServiceError('method-not-allowed', detail('method-unsupported', { methods: allow }), {
        headers: { allow },
      });
    }
    if ((raw.url ?? '').length > URL_MAX) {
      throw new ServiceError('url-too-long', detail('url-long', { limit: URL_MAX }));
    }
    done();
  });
}

function tooMany(): ServiceError {
  return new ServiceError('request-malformed', detail('requests-pipelined', { limit: PIPELINED_MAX }));
}

/** Returns the error for a request that other readers may interpret differently. */
function refusalOf(request: FastifyRequest, isHost: (host: string) => boolean): ServiceError | undefined {
  const { httpVersion } = request.raw;
  // Node.js also reads HTTP/0.9 and 2.0 in a request line, with the syntax of HTTP/1.1.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    return new ServiceError(
      'http-version-unsupported',
      detail('http-version-named', { version: httpVersion }),
    );
  }
  if (hasBody(request) && !isForm(request))
    return new ServiceError('request-malformed', detail('body-unwanted', {}));
  if (!hasOneHost(request, isHost)) {
    return new ServiceError('request-malformed', detail('host-ambiguous', {}));
  }
  if (!isAtHost(request.raw.url ?? '', request.raw.headers.host)) {
    return new ServiceError('request-malformed', detail('target-foreign', {}));
  }
  return undefined;
}

function hasBody({ headers }: FastifyRequest): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
}

/** Tells whether a request has a short form, of stated length, for a route that takes one. */
function isForm(request: FastifyRequest): boolean {
  const { headers } = request;
  return (
    takesForm(request) &&
    headers['transfer-encoding'] === undefined &&
    headers['content-type'] === 'application/x-www-form-urlencoded' &&
    Number(headers['content-length']) <= FORM_MAX
  );
}

function takesForm({ method, routeOptions }: FastifyRequest): boolean {
  return method === 'POST' && routeOptions.config.takesForm === true;
}

function hasOneHost(
  { raw: { headers, rawHeaders, httpVersion } }: FastifyRequest,
  isHost: (host: string) => boolean,
): boolean {
  const { host } = headers;
  // HTTP/1.0 does not require a Host header, and some clients still use it.
  if (host === undefined) return httpVersion === '1.0';
  let count = 0;
  // Names and values alternate. `headers` has only the first of several.
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at];
    if (name?.length === 4 && name.toLowerCase() === 'host') count += 1;
  }
  return count === 1 && isHost(host);
}

/** Remembers the last accepted text, because most requests have the same host. */
function rememberingLast(isGood: (text: string) => boolean): (text: string) => boolean {
  let last: string | undefined;
  return (text) => {
    if (text === last) return true;
    if (!isGood(text)) return false;
    last = text;
    return true;
  };
}
