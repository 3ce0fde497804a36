import { isIP } from 'node:net';
import type { Config, GivenSettings } from './schema.ts';

type TlsMode = Config['tls'];
type TlsSettings = Pick<Config, 'tls' | 'host' | 'port' | 'httpsPort' | 'acmeDirectory'>;

const LETS_ENCRYPT = 'https://acme-v02.api.letsencrypt.org/directory';
const LETS_ENCRYPT_STAGING = 'https://acme-staging-v02.api.letsencrypt.org/directory';

/** Returns the directory for trials: Let’s Encrypt’s staging directory, or the directory itself for another authority. */
export function trialDirectory(directory: string): string {
  return directory === LETS_ENCRYPT ? LETS_ENCRYPT_STAGING : directory;
}

/**
 * The default ports with a certificate from an authority, which connects to port 80, and with any other or no
 * certificate.
 */
const ADDRESSES = {
  acme: { host: '::', port: 80, httpsPort: 443 },
  other: { host: '127.0.0.1', port: 8080, httpsPort: 8443 },
};

/**
 * Resolves the settings that depend on the source of the certificate. Plain HTTP for other machines requires an
 * explicit setting, because it is only safe behind a proxy that speaks TLS.
 *
 * @param mistakes takes a sentence for each setting that is missing or contradicts another
 */
export function settleTls(given: GivenSettings, mistakes: string[]): TlsSettings {
  const tls = given.tls ?? usualMode(given, mistakes);
  const usual = tls === 'acme' ? ADDRESSES.acme : ADDRESSES.other;
  const { host = usual.host, port = usual.port, httpsPort = usual.httpsPort } = given;
  if (tls === 'acme') checkAcme(given, mistakes);
  if (tls === 'files' || given.tlsCertFile !== undefined || given.tlsKeyFile !== undefined) {
    checkFiles(tls, given, mistakes);
  }
  if (tls !== 'off' && port === httpsPort && port !== 0) {
    mistakes.push(`--port and --https-port are both ${port}: HTTP and HTTPS need a port each.`);
  }
  const standard = given.acmeStaging ? LETS_ENCRYPT_STAGING : LETS_ENCRYPT;
  return { tls, host, port, httpsPort, acmeDirectory: given.acmeDirectory ?? standard };
}

function usualMode(
  { domains = [], tlsCertFile, tlsKeyFile, host }: GivenSettings,
  mistakes: string[],
): TlsMode {
  const hasFiles = tlsCertFile !== undefined || tlsKeyFile !== undefined;
  if (hasFiles && domains.length > 0) {
    mistakes.push('Both --domains and --tls-cert-file are set: say --tls acme or --tls files.');
  }
  if (hasFiles) return 'files';
  if (domains.length > 0) return 'acme';
  if (host !== undefined && !isLoopback(host)) {
    mistakes.push(
      `--host ${host} accepts other machines, which needs a choice. Set --domains and --acme-email for HTTPS with a certificate from Let’s Encrypt. Or set --tls files, --tls self-signed, or --tls off for plain HTTP behind a proxy.`,
    );
  }
  return 'off';
}

function checkAcme(given: GivenSettings, mistakes: string[]): void {
  const { domains = [], acmeEmail, acmeDirectory, acmeStaging } = given;
  if (domains.length === 0) mistakes.push('--tls acme needs --domains: the host names of the certificate.');
  if (acmeEmail === undefined) {
    mistakes.push('--tls acme needs --acme-email: an address that the authority may write to.');
  }
  if (acmeDirectory !== undefined && acmeStaging) {
    mistakes.push('--acme-directory and --acme-staging name two directories: set one of them.');
  }
  if ((given.acmeEabKid === undefined) !== (given.acmeEabKeyFile === undefined)) {
    mistakes.push(
      'An external account has an identifier and a key: set both --acme-eab-kid and --acme-eab-key-file.',
    );
  }
  const { acmeFallbackDirectory, acmeFallbackEabKid, acmeFallbackEabKeyFile } = given;
  if ((acmeFallbackEabKid === undefined) !== (acmeFallbackEabKeyFile === undefined)) {
    mistakes.push(
      'An external account has an identifier and a key: set both --acme-fallback-eab-kid and --acme-fallback-eab-key-file.',
    );
  }
  if (acmeFallbackEabKid !== undefined && acmeFallbackDirectory === undefined) {
    mistakes.push('--acme-fallback-eab-kid needs --acme-fallback-directory.');
  }
  checkChallenge(given, mistakes);
  const beyond = given.acmeClient === 'greenlock' ? beyondGreenlock(given) : undefined;
  if (beyond !== undefined) {
    mistakes.push(`${beyond} does not work with --acme-client greenlock: set --acme-client auto.`);
  }
}

function checkChallenge(given: GivenSettings, mistakes: string[]): void {
  const { domains = [], acmeChallenge = 'auto', acmeDnsHook } = given;
  const isByDns = acmeChallenge === 'dns-01' || (acmeChallenge === 'auto' && acmeDnsHook !== undefined);
  const wildcard = domains.find(isWildcard);
  if (acmeChallenge === 'dns-01' && acmeDnsHook === undefined) {
    mistakes.push('--acme-challenge dns-01 needs --acme-dns-hook: a program that adds the records.');
  }
  if (wildcard !== undefined && !isByDns) {
    mistakes.push(
      `${wildcard} in --domains needs --acme-dns-hook: authorities validate wildcards by DNS alone.`,
    );
  }
  if (domains[0] !== undefined && isWildcard(domains[0])) {
    mistakes.push('The first of --domains is the primary name of the service, so it cannot be a wildcard.');
  }
  if (isByDns && domains.some((name) => isIP(name) !== 0)) {
    mistakes.push('DNS-01 cannot validate an IP address in --domains: set --acme-challenge http-01.');
  }
}

/** Tells whether a domain stands for all names below another one. */
export function isWildcard(domain: string): boolean {
  return domain.startsWith('*.');
}

/** The first setting that greenlock cannot fulfill. */
function beyondGreenlock(given: GivenSettings): string | undefined {
  if (given.acmeChallenge === 'tls-alpn-01') return '--acme-challenge tls-alpn-01';
  if (given.acmeProfile !== undefined) return '--acme-profile';
  if (given.acmePreferredChain !== undefined) return '--acme-preferred-chain';
  if (given.acmeEabKid !== undefined) return '--acme-eab-kid';
  if (given.acmeFallbackEabKid !== undefined) return '--acme-fallback-eab-kid';
  return given.domains?.some((name) => isIP(name) !== 0) ? 'An IP address in --domains' : undefined;
}

function checkFiles(tls: TlsMode, { tlsCertFile, tlsKeyFile }: GivenSettings, mistakes: string[]): void {
  if (tls !== 'files') {
    mistakes.push(`--tls-cert-file and --tls-key-file are for --tls files, not for --tls ${tls}.`);
  } else if (tlsCertFile === undefined || tlsKeyFile === undefined) {
    mistakes.push('A certificate and its key belong together: set both --tls-cert-file and --tls-key-file.');
  }
}

/** True if only this machine reaches a host. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
