import { ConfigError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { quote } from '../errors.ts';

const ROLES = ['http', 'https', 'metrics'] as const;
type Role = (typeof ROLES)[number];

/** File descriptors of sockets that the service manager has opened, by their purpose. */
export type PassedSockets = Readonly<Partial<Record<Role, number>>>;

/** The first passed descriptor. Lower ones are standard input, output, and error. */
const FIRST_FD = 3;

/**
 * Reads the sockets that a service manager passes on. The name of a socket states its purpose. Several sockets of one
 * unit share a name, which lists their purposes in order: `http,https`.
 *
 * @param pid the ID of this process; sockets for another one stay untouched
 * @throws ConfigError if the passed sockets do not fit these settings
 * @see https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
 */
export function passedSockets(
  variables: Readonly<Record<string, string | undefined>>,
  pid: number,
  { tls }: Pick<Config, 'tls'>,
): PassedSockets {
  const { LISTEN_PID, LISTEN_FDS = '', LISTEN_FDNAMES = '' } = variables;
  if (LISTEN_PID !== `${pid}`) return {};
  if (!/^\d{1,4}$/.test(LISTEN_FDS))
    throw new ConfigError([`LISTEN_FDS: ${quote(LISTEN_FDS)} is not a number.`]);
  const names = LISTEN_FDNAMES.split(':');
  const sockets: Partial<Record<Role, number>> = {};
  for (let at = 0; at < Number(LISTEN_FDS); at++) {
    const name = names[at] ?? '';
    const role = name.split(',')[names.slice(0, at).filter((earlier) => earlier === name).length];
    if (!isRole(role) || sockets[role] !== undefined) throw new ConfigError([unusable(name)]);
    sockets[role] = FIRST_FD + at;
  }
  if (tls === 'off' && sockets.https !== undefined) throw new ConfigError([NO_CERTIFICATE]);
  return sockets;
}

const NO_CERTIFICATE =
  'A socket for HTTPS was passed, but no certificate is configured. Set --domains and --acme-email, or a --tls other than off. Behind a proxy, do not use dockerproxy.socket.';

function isRole(word: string | undefined): word is Role {
  return ROLES.some((role) => role === word);
}

function unusable(name: string): string {
  return `LISTEN_FDNAMES: ${quote(name)} must name each socket http, https, or metrics, and each name at most once. See FileDescriptorName= in dockerproxy.socket.`;
}
