import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { blob, type Image, image, sha256 } from './images.ts';
import { listen } from './listen.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** The faults of a repository. Everything else is correct. */
export interface Misbehaviour {
  /** For each GET or HEAD of a manifest, by tag or digest. */
  manifest?: Handler;
  /** For the config and the layers. */
  blob?: Handler;
  config?: Handler;
  layer?: Handler;
}

export interface HostileRegistry extends AsyncDisposable {
  host: string;
  url: string;
  /** Returns the correct image of a repository, which no other one has. */
  honest(repository: string): Image;
  /** Requests so far, of a repository or all. */
  requests(repository?: string): IncomingMessage[];
  misbehave(repository: string, how: Misbehaviour): void;
  /** For paths outside the API: a token server, the target of a redirect. */
  at(path: string, handler: Handler): void;
  /** Bytes that were handed to sockets so far, of answers below this path. */
  sent(prefix: string): number;
}

export interface HostileRegistryOptions {
  /** 127.0.0.1 by default. */
  address?: string;
  /** In PEM; without them it speaks plain HTTP. */
  tls?: { cert: Buffer; key: Buffer };
}

const PATH = /^\/v2\/([^?]+)\/(manifests|blobs)\/([^/?]+)$/;

/** Starts a registry with chosen faults over a real socket. Real registries cannot show them on demand. */
export async function startHostileRegistry({
  address = '127.0.0.1',
  tls,
}: HostileRegistryOptions = {}): Promise<HostileRegistry> {
  const repositories = new Map<string, Misbehaviour>();
  const paths = new Map<string, Handler>();
  const requests: IncomingMessage[] = [];
  const sockets = new Map<IncomingMessage, number>();

  const serve: Handler = (request, response) => {
    requests.push(request);
    const { socket } = request;
    const before = socket.bytesWritten;
    response.once('close', () => sockets.set(request, socket.bytesWritten - before));
    response.on('error', () => {});
    const [, repository = '', kind, reference = ''] = PATH.exec(request.url ?? '') ?? [];
    const how = repositories.get(repository) ?? {};
    const honest = honestImage(repository);
    const handler =
      kind === undefined
        ? paths.get((request.url ?? '').replace(/\?.*$/, ''))
        : kind === 'manifests'
          ? how.manifest
          : ((reference === honest.config.descriptor.digest ? how.config : how.layer) ?? how.blob);
    if (handler !== undefined) return handler(request, response);
    const blobs = [honest.config, ...honest.layers];
    const found = blobs.find(({ descriptor }) => descriptor.digest === reference)?.content;
    const body = kind === 'manifests' ? honest.bytes : found;
    if (!(body instanceof Uint8Array)) return void response.writeHead(404).end();
    const type = kind === 'manifests' ? honest.descriptor.mediaType : 'application/octet-stream';
    response.writeHead(200, { 'content-type': type, 'content-length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  };

  const server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  server.on('clientError', (_error, socket) => socket.destroy());
  const listening = await listen(server, address);
  return {
    ...listening,
    url: `${tls === undefined ? 'http' : 'https'}://${listening.host}`,
    honest: honestImage,
    requests: (repository) =>
      requests.filter(({ url }) => repository === undefined || url?.startsWith(`/v2/${repository}/`)),
    misbehave: (repository, how) => void repositories.set(repository, how),
    at: (path, handler) => void paths.set(path, handler),
    sent: (prefix) =>
      [...sockets].reduce((sum, [{ url }, bytes]) => sum + (url?.startsWith(prefix) ? bytes : 0), 0),
  };
}

/** The layer is labeled gzip, but is not compressed. */
function honestImage(repository: string): Image {
  const bytes = Buffer.from(`${repository} `.repeat(2000));
  const only = { ...blob('application/vnd.oci.image.layer.v1.tar+gzip', bytes), diffId: sha256(bytes) };
  return image({
    platform: { os: 'linux', architecture: 'amd64' },
    config: { Labels: { repository } },
    layers: [only],
  });
}

/** Answers 200 with JSON, or with bytes as they are. */
export function answering(body: unknown, headers: Record<string, string> = {}): Handler {
  const bytes = body instanceof Uint8Array || typeof body === 'string' ? body : JSON.stringify(body);
  return (request, response) => {
    response.writeHead(200, { 'content-length': Buffer.byteLength(bytes), ...headers });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  };
}

/** Answers with an endless body, up to `most` bytes. */
export function flooding(
  most = Number.POSITIVE_INFINITY,
  headers: Record<string, string> = {},
  status = 200,
): Handler {
  const chunk = Buffer.alloc(65_536, ' ');
  return (_request, response) => {
    let left = most;
    const fill = (): void => {
      while (!response.destroyed && left > 0) {
        const part = chunk.subarray(0, left);
        left -= part.length;
        if (!response.write(part)) return;
      }
      if (left <= 0) response.end();
    };
    response.writeHead(status, headers).on('drain', fill);
    fill();
  };
}

/** Writes bytes to the socket that need not be HTTP, and closes it where told. */
export function raw(bytes: string, ends = true): Handler {
  return ({ socket }) => {
    if (ends) socket.end(bytes);
    else socket.write(bytes);
  };
}

export function redirecting(location: string): Handler {
  return (_request, response) => void response.writeHead(307, { location }).end();
}

/** Requires a token from this realm. */
export function challenging(realm: string): Handler {
  return (_request, response) =>
    void response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
}
