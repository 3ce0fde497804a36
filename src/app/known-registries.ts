import type { Config } from '../config/schema.ts';
import type { Access } from './access.ts';

/** Selects the hosts that metrics name: those in the settings, not those that a wildcard allows. */
export function knownRegistries(
  { insecureRegistries, registries }: Config,
  { patterns }: Access,
): (host: string) => boolean {
  const hub = ['registry-1.docker.io', 'auth.docker.io', 'production.cloudfront.docker.com'];
  const mirrors = [...registries.values()].flatMap((table) => table.mirrors.map(({ host }) => host));
  const fixed = new Set([...hub, ...insecureRegistries, ...mirrors]);
  return (host) => fixed.has(host) || patterns().allow.some(({ domain }) => domain === host);
}
