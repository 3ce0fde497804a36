import { ConfigError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { quote } from '../errors.ts';

const ROLES = ['http', 'https', 'metrics'] as const;
type Role = (typeof ROLES)[number];

/** File descriptors of sockets that someone else listens on for the service, by what they are for. */
export type PassedSockets = Readonly<Partial<Record<Role, number>>>;

/** The first one that is passed: what is below is standard input, output and error. */
const FIRST_FD = 3;

/**
 * Reads which sockets a service manager passes on. The name of a socket says what it is for; where one unit has several,
 * they share a name, which says it of each in their order: `http,https`.
 *
 * @param pid of this process: what is meant for another one is left alone
 * @throws ConfigError where what was passed cannot be used with these settings
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
    throw new ConfigError([`LISTEN_FDS: ${quote(LISTEN_FDS)} is no number.`]);
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
  'A socket for HTTPS was passed, and there is no certificate: set --domains and --acme-email, or another --tls than off; behind a proxy, do without dockerproxy.socket.';

function isRole(word: string | undefined): word is Role {
  return ROLES.some((role) => role === word);
}

function unusable(name: string): string {
  return `LISTEN_FDNAMES: ${quote(name)} does not say of each of its sockets whether it is for http, https or metrics, and one is all that each takes; see FileDescriptorName= in dockerproxy.socket.`;
}
