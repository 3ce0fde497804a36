/**
 * What replicas of the service share: a Redis, as much of it as is used. Every call ends within a second, and throws
 * where Redis is away: nobody waits for it, and each caller has something to do without it.
 */
export interface Redis {
  /** Whether it takes what limits write, as far as is known; in a Cluster, the node that has them. */
  readonly isConnected: boolean;
  get(key: string): Promise<Buffer | undefined>;
  /** @param ttl milliseconds, after which it is forgotten; undefined: never */
  set(key: string, value: Buffer | string, ttl?: number): Promise<void>;
  remove(key: string): Promise<void>;
  /** Runs a script of Lua, which is atomic; its keys have to be in one slot of a Cluster. */
  run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>;
  /** Has it told each time that Redis answers again. */
  onReturn(returned: () => void): void;
  close(): Promise<void>;
}

/** A script of Lua, sent once and then named by its hash. */
export interface RedisScript {
  readonly lua: string;
  /** SHA-1 of it, in hex. */
  readonly hash: string;
}

/** Where a Redis is, and how to speak to it. */
export interface RedisAddress {
  readonly kind: 'server' | 'sentinel' | 'cluster';
  /** The server, or those who know where it is. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  /** The name that Sentinels have for it; empty for the other kinds. */
  readonly master: string;
  readonly database: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly isTls: boolean;
  /** Absent where Sentinels have the user and the password of Redis. */
  readonly sentinelLogin?: RedisLogin;
  /** Absent where the usual authorities do and no certificate is wanted. */
  readonly tls?: RedisTls;
}

/** Who logs in; undefined for the user `default`, and for no password. */
export interface RedisLogin {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** How Redis and its Sentinels are known by TLS, and how this service is known to them; all of it PEM. */
export interface RedisTls {
  /** Trusted beside the authorities of the system. */
  readonly authorities: string | undefined;
  readonly certificate: string | undefined;
  /** Of the certificate. */
  readonly key: string | undefined;
}

/** What begins every key, so that others may use the same Redis. */
export const KEY_PREFIX = 'dockerproxy:';
/** What begins the keys of limits: one slot of a Cluster for all of them, as a script may use no more. */
export const LIMITS_PREFIX = `${KEY_PREFIX}{limits}:`;
