import { createGuard } from '../../src/net/guard.ts';
import { createHttpClient, type HttpClient } from '../../src/net/http-client.ts';
import { type Authorizer, createAuthorizer } from '../../src/registry/authorizer.ts';
import { createRegistryClient, type RegistryClient } from '../../src/registry/client.ts';
import type { CredentialStore, Credentials } from '../../src/registry/credentials.ts';

export interface Stack extends AsyncDisposable {
  http: HttpClient;
  authorizer: Authorizer;
  client: RegistryClient;
}

export interface StackOptions {
  /** Registries at `host:port` of this machine, spoken to by plain HTTP. */
  hosts: string[];
  /** Further origins that the guard lets pass: a token server, the target of redirects. */
  trusted?: string[];
  credentials?: Credentials | undefined;
  /** Milliseconds. */
  now?: () => number;
  idleTimeout?: number;
}

/** The registry client as src/app.ts puts it together. */
export function createStack({ hosts, trusted = [], credentials, now, idleTimeout }: StackOptions): Stack {
  const origins = [...hosts.map((host) => `http://${host}`), ...trusted.map((url) => new URL(url).origin)];
  const http = createHttpClient({
    guard: createGuard(origins),
    userAgent: 'test',
    ...(idleTimeout !== undefined && { idleTimeout }),
  });
  const store: CredentialStore = { find: async () => credentials };
  const authorizer = createAuthorizer({ http, credentials: store, now: now ?? (() => performance.now()) });
  const client = createRegistryClient({ http, authorizer, insecure: new Set(hosts) });
  return { http, authorizer, client, [Symbol.asyncDispose]: () => http.close() };
}
