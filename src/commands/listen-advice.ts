import type { Config } from '../config/schema.ts';

/** Returns a sentence for the operator about an address that the service cannot listen on. */
export function listenAdvice(error: unknown, config: Config): string {
  const { code, address, port } = error as { code?: unknown; address?: unknown; port?: unknown };
  const [flag, hostFlag] =
    config.tls !== 'off' && port === config.httpsPort
      ? ['--https-port', '--host']
      : config.metricsPort !== undefined && port === config.metricsPort
        ? ['--metrics-port', '--metrics-host']
        : ['--port', '--host'];
  if (code === 'EADDRINUSE')
    return `Port ${port} of ${address} is already in use; choose another one with ${flag}`;
  if (code === 'EACCES')
    return `This user may not open port ${port}. Choose a port above 1023 with ${flag}, run the service as root, or let systemd open the port (dockerproxy.socket)`;
  if (code === 'EADDRNOTAVAIL')
    return `${address} is not an address of this machine; choose another one with ${hostFlag}`;
  return `Cannot listen on ${address}:${port}`;
}
