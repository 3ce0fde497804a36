/**
 * The part of Redis that replicas share. Every call ends within a second, and throws if Redis is unavailable. Each
 * caller has a fallback, so that no request waits for Redis.
 */
export interface Redis {
  /**
   * True if Redis accepts writes of the limits, as far as known. In a Cluster, this is about the node with the limits.
   */
  readonly isConnected: boolean;
  get(key: string): Promise<Buffer | undefined>;
  /** @param ttl milliseconds until it expires; undefined for never */
  set(key: string, value: Buffer | string, ttl?: number): Promise<void>;
  remove(key: string): Promise<void>;
  /** Runs a script of Lua, which is atomic; its keys have to be in one slot of a Cluster. */
  run(script: RedisScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>;
  /** Registers a function that is called each time that Redis answers again. */
  onReturn(returned: () => void): void;
  close(): Promise<void>;
}

/** A script of Lua, sent once and then named by its hash. */
export interface RedisScript {
  readonly lua: string;
  /** The SHA-1 of the script, in hex. */
  readonly hash: string;
}

/** The address of a Redis, and its protocol options. */
export interface RedisAddress {
  readonly kind: 'server' | 'sentinel' | 'cluster';
  /** The addresses of the server, or of its Sentinels or Cluster nodes. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  /** The name of the master at the Sentinels; empty for the other kinds. */
  readonly master: string;
  readonly database: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly isTls: boolean;
  /** The login for Sentinels; absent if they use the login of Redis. */
  readonly sentinelLogin?: RedisLogin;
  /** Absent if the default authorities suffice and no client certificate is needed. */
  readonly tls?: RedisTls;
}

/** A login. An undefined user is `default`; an undefined password means none. */
export interface RedisLogin {
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** TLS files for Redis and its Sentinels, in PEM. */
export interface RedisTls {
  /** Certificate authorities that are trusted in addition to those of the system. */
  readonly authorities: string | undefined;
  readonly certificate: string | undefined;
  /** The key of the certificate. */
  readonly key: string | undefined;
}

/** The prefix of every key, so that other applications may use the same Redis. */
export const KEY_PREFIX = 'dockerproxy:';
/**
 * Prefix of the keys of limits. The hash tag puts them all in one slot of a Cluster, because a script may use only one.
 */
export const LIMITS_PREFIX = `${KEY_PREFIX}{limits}:`;
