import type { RedisAddress } from '../redis/redis.ts';
import { type SettingType, text } from './types.ts';

const URL_FORM =
  /^redis(?<tls>s?)(?:-(?<kind>sentinel|cluster))?:\/\/(?:(?<user>[^@/]*)@)?(?<nodes>[^@/?#]+)(?:\/(?<database>\d{0,5}))?(?:#(?<master>[\w.-]+))?$/;
const NODE = /^(?:\[(?<ipv6>[\da-f:.]+)\]|(?<host>[\w.-]+))(?::(?<port>\d{1,5}))?$/i;
const PORTS = { server: 6379, cluster: 6379, sentinel: 26_379 };

/**
 * The address of a Redis: `redis://host`, a Cluster by some of its nodes, or Sentinels with the name of a master.
 * `rediss` uses TLS.
 *
 * @see https://redis.github.io/lettuce/user-guide/connecting-redis/#uri-syntax for the syntax of Sentinels
 */
export const redisUrl: SettingType<RedisAddress> = {
  placeholder: 'URL',
  parse(value) {
    const {
      tls,
      kind = 'server',
      user,
      nodes = '',
      database,
      master = '',
    } = URL_FORM.exec(text.parse(value))?.groups ?? {};
    const isKnown = kind === 'server' || kind === 'sentinel' || kind === 'cluster';
    const places = isKnown ? nodes.split(',').map((node) => parseNode(node, PORTS[kind])) : [];
    const known = places.filter((place) => place !== undefined);
    const isRight =
      isKnown &&
      known.length === places.length &&
      (kind === 'server' ? known.length === 1 : true) &&
      (kind === 'sentinel') === (master !== '') &&
      (kind === 'cluster' ? !database : true);
    if (!isRight) {
      throw new Error(
        'must be a URL such as redis://redis.lan:6379/0, rediss://user:password@redis.lan, redis-sentinel://one,two,three/0#mymaster, or redis-cluster://one,two,three',
      );
    }
    const [username, password] = credentials(user);
    return {
      ...{ kind, nodes: known, master, username, password },
      database: Number(database ?? 0),
      isTls: tls === 's',
    };
  },
};

function parseNode(node: string, usual: number): { host: string; port: number } | undefined {
  const { ipv6, host = ipv6, port = `${usual}` } = NODE.exec(node)?.groups ?? {};
  const isPort = Number(port) > 0 && Number(port) <= 65_535;
  return host !== undefined && isPort ? { host, port: Number(port) } : undefined;
}

/** `user:password`, or the password alone, as older versions have it. */
function credentials(user: string | undefined): [string | undefined, string | undefined] {
  if (user === undefined) return [undefined, undefined];
  const [name = '', ...rest] = user.split(':');
  const decode = (part: string): string | undefined => {
    try {
      return decodeURIComponent(part) || undefined;
    } catch {
      throw new Error('has a user or a password with a % that is not percent-encoding');
    }
  };
  return rest.length === 0 ? [undefined, decode(name)] : [decode(name), decode(rest.join(':'))];
}
