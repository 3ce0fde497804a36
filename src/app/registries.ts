import type { Logger } from 'pino';
import { readHosts } from '../config/registry-hosts.ts';
import type { Config } from '../config/schema.ts';
import { alsoTrusting, type Guard } from '../net/guard.ts';
import type { HttpClient } from '../net/http.ts';
import { createHttpClient, type HttpClientOptions } from '../net/http-client.ts';
import type { Reference } from '../oci/reference.ts';
import { type RegistryHost, registryOrigin, repositoryAt } from '../oci/registry-host.ts';
import type { Allowlist } from '../policy/allowlist.ts';
import { type AuthorizerOptions, createAuthorizer } from '../registry/authorizer.ts';
import { createCircuit } from '../registry/circuit.ts';
import {
  createRegistryClient,
  type DirectClient,
  type RegistryClient,
  type RegistryClientOptions,
} from '../registry/client.ts';
import type { CredentialStore } from '../registry/credentials.ts';
import { createMirroringClient, type Mirror } from '../registry/mirroring-client.ts';
import { createOriginOutages } from '../registry/origin-outages.ts';
import { formatDuration } from '../util/duration.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';

export interface RegistriesOptions
  extends Pick<HttpClientOptions, 'userAgent' | 'onAnswer' | 'findProxy' | 'caches' | 'large'>,
    Pick<RegistryClientOptions, 'admit'> {
  readonly guard: Guard;
  readonly credentials: CredentialStore;
  /** The repositories that clients may fetch. Absent if the user owns the credentials and may fetch anything. */
  readonly allowlist?: Allowlist | undefined;
  readonly logger: Logger;
  /**
   * Milliseconds without progress until a mirror counts as failed. The default is 10 000, because another source
   * exists.
   */
  readonly mirrorPatience?: number;
}

/** A client for all registries, which uses their mirrors. */
export interface Registries {
  readonly client: RegistryClient;
  /**
   * Creates a client that shares connections, but no token, with others. It does not use mirrors, because credentials of
   * clients go only to their registry. A registry that another one redirects to gets no credentials.
   *
   * @param caches the list of its caches
   */
  clientWith(
    credentials: CredentialStore,
    caches: MemoryCaches,
    refused: NonNullable<AuthorizerOptions['refused']>,
  ): RegistryClient;
  close(): Promise<void>;
}

/** The authorization of the requests of one client. */
type Authorization = Pick<AuthorizerOptions, 'credentials' | 'mayUseCredentials' | 'refused'> & {
  readonly caches: MemoryCaches;
};

const MIRROR_PATIENCE_MS = 10_000;

/**
 * Creates the clients of registries. Each mirror, and each registry with settings of its own, has separate connections,
 * tokens, and trusted authorities.
 *
 * @throws ConfigError if a file about mirrors cannot be used
 */
export function openRegistries(config: Config, options: RegistriesOptions): Registries {
  const { guard, credentials, allowlist, logger, admit, ...http } = options;
  const { mirrorPatience = MIRROR_PATIENCE_MS, ...common } = http;
  const insecure = new Set(config.insecureRegistries);
  const hostsOf = readHosts(config);
  const clients: HttpClient[] = [];
  const now = (): number => performance.now();
  const { caches = createMemoryCaches(now) } = common;

  /**
   * Credentials go only to the configured origin of their registry, and only for repositories that clients may fetch
   * there.
   */
  const mayUseCredentials = (target: Reference, origin: string): boolean => {
    const { origin: written } = hostsOf(target.domain) ?? {};
    const own = written?.api.origin ?? registryOrigin(target.domain, insecure);
    return origin === own && (allowlist === undefined || allows(allowlist, target));
  };

  const operator: Authorization = { credentials, mayUseCredentials, caches };

  const connect = (own: HttpClientOptions): HttpClient => {
    const client = createHttpClient(own);
    clients.push(client);
    return client;
  };

  const clientFor = (
    http: HttpClient,
    authorization: Authorization,
    registry: Pick<RegistryClientOptions, 'api' | 'metadataTimeout' | 'metadataRetries' | 'blobRetries'> = {},
  ): DirectClient =>
    createRegistryClient({
      http,
      authorizer: createAuthorizer({ http, now, ...authorization }),
      insecure,
      caches: authorization.caches,
      ...(admit && { admit }),
      ...registry,
    });

  const ownOf = ({ api, headers, tls }: RegistryHost) => ({ origin: api.origin, headers, tls });

  // One circuit for each host, even if the host mirrors several registries.
  const circuitOf = once((host: string) =>
    createCircuit({
      ...{ now, random: Math.random },
      onOpen: (err, pause) =>
        logger.warn({ err }, `Skipping mirror ${host} for ${formatDuration(pause)}: ${err.message}`),
      onClose: () => logger.info(`The mirror ${host} is asked again`),
    }),
  );

  const mirrorAt = once((host: RegistryHost): Mirror => {
    const { api, canPull, canResolve } = host;
    warnIfUnverified(host);
    return {
      ...{ canPull, canResolve },
      client: clientFor(
        connect({
          ...common,
          guard: alsoTrusting(api.origin, guard),
          own: ownOf(host),
          idleTimeout: mirrorPatience,
        }),
        operator,
        { api, metadataTimeout: mirrorPatience, metadataRetries: 0, blobRetries: 0 },
      ),
      circuit: circuitOf(api.host),
      locate: (repository) => repositoryAt(host, repository),
    };
  });

  const originAt = (isListed: boolean) =>
    once((host: RegistryHost): HttpClient => {
      warnIfUnverified(host);
      const trusting = isListed ? alsoTrusting(host.api.origin, guard) : guard;
      return connect({ ...common, guard: trusting, own: ownOf(host) });
    });
  const [listedOriginAt, usualOriginAt] = [originAt(true), originAt(false)];

  const warnIfUnverified = ({ api, tls }: RegistryHost): void => {
    if (tls.skipVerify) logger.warn(`The certificate of ${api.host} is not verified, as skip_verify says`);
  };

  const usual = connect({ ...common, guard });
  const directWith = (authorization: Authorization): DirectClient => {
    const usualClient = clientFor(usual, authorization);
    const at = (http: (host: RegistryHost) => HttpClient) =>
      once((host: RegistryHost) => clientFor(http(host), authorization, { api: host.api }));
    const [listed, unlisted] = [at(listedOriginAt), at(usualOriginAt)];
    return byRegistry((domain) => {
      const { origin, isOriginListed } = hostsOf(domain) ?? {};
      if (origin === undefined) return usualClient;
      return isOriginListed ? listed(origin) : unlisted(origin);
    });
  };
  const direct = directWith(operator);
  return {
    client: createMirroringClient({
      client: direct,
      outages: createOriginOutages({
        ...{ now, random: Math.random, caches },
        onOpen: (domain, err, pause) =>
          logger.warn(
            { err },
            `${domain} is unreachable; using only its mirrors for at least ${formatDuration(pause)}: ${err.message}`,
          ),
        onClose: (domain) => logger.info(`${domain} is reachable again`),
      }),
      mirrorsOf: (domain) => hostsOf(domain)?.mirrors.map(mirrorAt) ?? [],
    }),
    clientWith: (own, ownCaches, refused) => directWith({ credentials: own, refused, caches: ownCaches }),
    async close() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}

function allows(allowlist: Allowlist, reference: Reference): boolean {
  try {
    allowlist.check(reference);
    return true;
  } catch {
    return false;
  }
}

/** Creates a client that passes each call to the client of the repository's registry. */
function byRegistry(clientOf: (domain: string) => DirectClient): DirectClient {
  return {
    manifest: (repository, ...rest) => clientOf(repository.domain).manifest(repository, ...rest),
    head: (repository, ...rest) => clientOf(repository.domain).head(repository, ...rest),
    tags: (repository, ...rest) => clientOf(repository.domain).tags(repository, ...rest),
    findBlob: (repository, ...rest) => clientOf(repository.domain).findBlob(repository, ...rest),
    referrers: (repository, ...rest) => clientOf(repository.domain).referrers(repository, ...rest),
    checkSizes: (repository, ...rest) => clientOf(repository.domain).checkSizes(repository, ...rest),
    blobs: (repository) => clientOf(repository.domain).blobs(repository),
    blobHost: (repository, blob) => clientOf(repository.domain).blobHost(repository, blob),
  };
}

/** Returns a function that creates an object for each host once, on first use. */
function once<Host, T>(make: (host: Host) => T): (host: Host) => T {
  const made = new Map<Host, T>();
  return (host) => {
    const known = made.get(host) ?? make(host);
    made.set(host, known);
    return known;
  };
}
