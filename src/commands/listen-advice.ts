import type { Config } from '../config/schema.ts';

/** Says what to do where an address cannot be listened on. */
export function listenAdvice(error: unknown, config: Config): string {
  const { code, address, port } = error as { code?: unknown; address?: unknown; port?: unknown };
  const [flag, hostFlag] =
    config.tls !== 'off' && port === config.httpsPort
      ? ['--https-port', '--host']
      : config.metricsPort !== undefined && port === config.metricsPort
        ? ['--metrics-port', '--metrics-host']
        : ['--port', '--host'];
  if (code === 'EADDRINUSE') return `Port ${port} of ${address} is taken; choose another one with ${flag}`;
  if (code === 'EACCES')
    return `Port ${port} may not be opened by this user; choose one above 1023 with ${flag}, run it as root, or let systemd open it by dockerproxy.socket`;
  if (code === 'EADDRNOTAVAIL')
    return `${address} is no address of this machine; choose another one with ${hostFlag}`;
  return `Cannot listen on ${address}:${port}`;
}
