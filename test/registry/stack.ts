import { createGuard, type Guard } from '../../src/net/guard.ts';
import type { HttpClient } from '../../src/net/http.ts';
import { createHttpClient } from '../../src/net/http-client.ts';
import {
  type AuthorizerOptions,
  createAuthorizer,
  type RegistryAuthorizer,
} from '../../src/registry/authorizer.ts';
import { createRegistryClient, type DirectClient } from '../../src/registry/client.ts';
import type { CredentialStore, Credentials } from '../../src/registry/credentials.ts';
import { createRetry, type RetryOptions } from '../../src/registry/retry.ts';
import {
  createImageSignatures,
  type ImageSignatures,
} from '../../src/sources/signatures/image-signatures.ts';
import { createTrustPolicy } from '../../src/trust/trust-policy.ts';
import type { MemoryCaches } from '../../src/util/memory-caches.ts';
import type { MinimumRateLimits } from '../../src/util/minimum-rate.ts';

export interface Stack extends AsyncDisposable {
  http: HttpClient;
  authorizer: RegistryAuthorizer;
  client: DirectClient;
  /** The tests do not use these. */
  signatures: ImageSignatures;
}

export interface StackOptions {
  /** Registries at `host:port` of this machine, for plain HTTP. */
  hosts: string[];
  /** Further origins that the guard lets pass: a token server, the target of redirects. */
  trusted?: string[];
  /** The hosts that the guard lets pass, where these are not all of them. */
  listed?: string[];
  /** Origins of this machine that count as public. */
  open?: string[];
  credentials?: Credentials | undefined;
  /** Credentials by registry, in place of those for any. */
  credentialsOf?: CredentialStore['find'];
  mayUseCredentials?: AuthorizerOptions['mayUseCredentials'];
  /** Milliseconds. */
  now?: () => number;
  caches?: MemoryCaches;
  idleTimeout?: number;
  connectTimeout?: number;
  slowest?: MinimumRateLimits;
  metadataTimeout?: number;
  metadataRetries?: number;
  blobRetries?: number;
  /** Replaces the pauses before retries, which take no time by default. */
  pause?: RetryOptions['pause'];
}

/** Creates the registry client like src/app/app.ts. */
export function createStack(options: StackOptions): Stack {
  const {
    hosts,
    listed = hosts,
    trusted = [],
    open = [],
    credentials,
    credentialsOf = async () => credentials,
    mayUseCredentials,
    now,
    idleTimeout,
    connectTimeout,
    pause = async () => {},
    ...limits
  } = options;
  const origins = [...listed.map((host) => `http://${host}`), ...trusted.map((url) => new URL(url).origin)];
  const guard = createGuard(origins);
  const openGuard: Guard = {
    ...guard,
    checkUrl: (url, chosenBy) => {
      if (!open.includes(url.origin)) guard.checkUrl(url, chosenBy);
    },
  };
  const http = createHttpClient({
    guard: openGuard,
    userAgent: 'test',
    ...(idleTimeout !== undefined && { idleTimeout }),
    ...(connectTimeout !== undefined && { connectTimeout }),
  });
  const store: CredentialStore = { find: credentialsOf };
  const authorizer = createAuthorizer({
    http,
    credentials: store,
    now: now ?? (() => performance.now()),
    ...(options.caches && { caches: options.caches }),
    ...(mayUseCredentials && { mayUseCredentials }),
    ...(limits.metadataTimeout !== undefined && { timeout: limits.metadataTimeout }),
  });
  const retry = createRetry({ random: () => 0.5, pause });
  const client = createRegistryClient({
    http,
    authorizer,
    insecure: new Set(hosts),
    retry,
    ...limits,
    ...(now && { now }),
  });
  const signatures = createImageSignatures({ client, policy: createTrustPolicy([]) });
  return { http, authorizer, client, signatures, [Symbol.asyncDispose]: () => http.close() };
}
