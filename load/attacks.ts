import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import type { HostileRegistry } from '../test/support/hostile-registry.ts';
import { createAttackImages } from './attack-images.ts';

/** One kind of attack, which an aggressive client repeats. */
export interface Attack {
  readonly name: string;
  /**
   * Performs the attack once.
   *
   * @param from the address of the client, on loopback
   * @param count the number of earlier attacks
   * @returns the status; undefined without a response
   */
  send(from: string, count: number, signal: AbortSignal): Promise<number | undefined>;
}

export interface AttackedService {
  readonly origin: URL;
  readonly registry: HostileRegistry;
  /** A registry that answers no SYN. */
  readonly droppingHost: string;
}

export interface AttackCall {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** True if the body is read; if not, the connection stays open until the signal aborts. */
  readonly reads?: boolean;
}

/** Several repositories of each kind, so that a client can request a different one each time. */
const VARIANTS = 8;
const BUNDLE = 10;
const LARGE_LAYER = 512 * 2 ** 20;
const IDLE_CONNECTIONS = 60;
const READERS = 30;

/** Prepares the images in the registry. */
export function createAttacks({ origin, registry, droppingHost }: AttackedService): Attack[] {
  const images = createAttackImages(registry);
  const names = (kind: string, count = VARIANTS): string[] =>
    Array.from({ length: count }, (_, at) => `attack/${kind}-${at}`);
  const prepared = <T>(kind: string, prepare: (repository: string) => T, count = VARIANTS): T[] =>
    names(kind, count).map(prepare);
  const image = (kind: string, at: number, tag = ''): string =>
    `${registry.host}/attack/${kind}-${at % VARIANTS}${tag}`;
  const bundle = (kind: string, parameter: string, count: number): string =>
    Array.from(
      { length: BUNDLE },
      (_, at) => `${parameter}=${registry.host}/attack/${kind}-${at}:v${count}`,
    ).join('&');
  const call = (path: string, from: string, signal: AbortSignal, options: AttackCall = {}) =>
    attackCall(new URL(path, origin), from, signal, options);

  const digests = prepared('command', images.largeCommand);
  prepared('metadata', images.largeMetadata, BUNDLE);
  prepared('foreign', (repository) => images.foreignLayers(repository, 150), BUNDLE);
  prepared('zone', (repository) => images.foreignLayers(repository, 100, 'does-not-answer.invalid'));
  prepared('bomb', images.jsonBomb, BUNDLE);
  prepared('tags', images.longTags);
  prepared('tiny', images.tinyLayers, BUNDLE);
  prepared('layer', (repository) => images.largeLayer(repository, LARGE_LAYER));

  return [
    {
      name: 'details of configs with long commands',
      send(from, count, signal) {
        const at = count % VARIANTS;
        return call(
          `/api/v1/image?myimage=${image('command', at, `:v${count}@${digests[at]}`)}`,
          from,
          signal,
        );
      },
    },
    {
      name: 'bundles of large manifests and configs, not read',
      send: (from, count, signal) =>
        call(`/dl?${bundle('metadata', 'myimage', count % 4)}`, from, signal, { reads: false }),
    },
    {
      name: 'HEAD of many foreign layers',
      send: (from, count, signal) =>
        call(
          `/dl?${bundle('foreign', 'myimage', count)}${count % 2 === 0 ? '' : '&platform=all&format=oci'}`,
          from,
          signal,
          { method: 'HEAD' },
        ),
    },
    {
      name: 'foreign layers in zones that do not answer',
      send: (from, count, signal) => call(`/dl?myimage=${image('zone', count)}`, from, signal),
    },
    {
      name: 'JSON bombs',
      send: (from, count, signal) =>
        call(`/dl?${bundle('bomb', 'myimage', count)}&${bundle('bomb', 'have', count)}`, from, signal, {
          method: 'HEAD',
        }),
    },
    {
      name: 'long tags by the thousand',
      send: (from, count, signal) =>
        call(
          count % 2 === 0
            ? `/api/v1/tags?repository=${image('tags', count)}`
            : `/dl?myimage=${image('tags', count, `:1.1.${count}`)}`,
          from,
          signal,
        ),
    },
    {
      name: 'a registry that drops SYNs',
      send: (from, count, signal) => call(`/dl?myimage=${droppingHost}/image:${count}`, from, signal),
    },
    {
      name: 'connections that send nothing',
      send: (from, _count, signal) => holdConnections(origin, from, signal),
    },
    {
      name: 'readers of large layers that do not read',
      send: (from, count, signal) =>
        call(`/dl?myimage=${image('layer', count)}`, from, signal, { reads: false }),
    },
    {
      name: 'readers of large manifests in the registry API that do not read',
      async send(from, count, signal) {
        const path = `/v2/attack/metadata-${count % BUNDLE}/manifests/v1?ns=${registry.host}`;
        const statuses = Array.from({ length: READERS }, () => call(path, from, signal, { reads: false }));
        return (await Promise.all(statuses))[0];
      },
    },
    {
      name: 'HEAD after HEAD',
      send: (from, count, signal) =>
        call(`/dl?myimage=${registry.host}/attack/head:${count}`, from, signal, { method: 'HEAD' }),
    },
    {
      name: 'forged addresses and origins',
      send: (from, count, signal) =>
        call(`/dl?myimage=${registry.host}/attack/forged&metalink=1`, from, signal, {
          headers: {
            'x-forwarded-for': `192.0.2.${count % 250}`,
            'x-forwarded-host': 'evil.example',
            'x-forwarded-proto': 'javascript',
            forwarded: `for=192.0.2.${count % 250};host=evil.example`,
          },
        }),
    },
    {
      name: 'bundles of tiny layers',
      send: (from, count, signal) =>
        call(`/dl?${bundle('tiny', 'myimage', count % 4)}`, from, signal, {
          method: count % 2 === 0 ? 'HEAD' : 'GET',
        }),
    },
    {
      name: 'page after page',
      send: (from, _count, signal) => call('/', from, signal, { headers: { 'accept-encoding': 'br' } }),
    },
  ];
}

/** Sends a request from an address of its own. */
export async function attackCall(
  url: URL,
  localAddress: string,
  signal: AbortSignal,
  { method = 'GET', headers = {}, reads = true }: AttackCall,
): Promise<number | undefined> {
  const sent = request(url, { method, headers, localAddress, agent: false, signal });
  sent.on('error', () => {}).end();
  const response = await new Promise<IncomingMessage | undefined>((resolve) => {
    sent.once('response', resolve).once('close', () => resolve(undefined));
  });
  if (response === undefined) return undefined;
  response.on('error', () => {});
  const { statusCode = 0 } = response;
  if (reads || statusCode >= 400) response.resume();
  // A complete response does not close when its request is destroyed.
  signal.addEventListener('abort', () => response.destroy(), { once: true });
  if (!response.closed) await new Promise((resolve) => response.once('close', resolve));
  return statusCode;
}

/** Opens connections and waits until the signal aborts. */
async function holdConnections(
  { hostname, port }: URL,
  localAddress: string,
  signal: AbortSignal,
): Promise<undefined> {
  const sockets = Array.from({ length: IDLE_CONNECTIONS }, () =>
    connect({ host: hostname, port: Number(port), localAddress }).on('error', () => {}),
  );
  if (!signal.aborted) await once(signal, 'abort');
  for (const socket of sockets) socket.destroy();
}
