import type { Setting } from '../setting.ts';
import { dnsServer, domainOrAddress, email, httpsUrl, listOf, oneOf, text, toggle } from '../types.ts';

/** Certificates, from files or from an ACME authority. */
export const HTTPS = {
  tls: {
    type: oneOf('acme', 'files', 'self-signed', 'off'),
    doc: 'Source of the certificate: acme (Let’s Encrypt or another ACME authority), files, self-signed, or off (plain HTTP, for use behind a proxy). Default: acme with --domains, files with --tls-cert-file, off on a loopback --host.',
    example: 'acme',
  },
  domains: {
    type: listOf(domainOrAddress),
    default: '',
    doc: 'Host names and IP addresses of the certificate. Each must point to this service. The first is the primary name. With ACME_DNS_HOOK, the others may be wildcards such as *.example.org.',
    example: 'dl.example.org',
  },
  acmeEmail: {
    type: email,
    doc: 'Email address at which the certificate authority may contact you. Required with --tls acme. Setting it accepts the authority’s terms of service.',
    example: 'ops@example.org',
  },
  acmeDirectory: {
    type: httpsUrl,
    doc: 'ACME directory URL of the certificate authority. Default: Let’s Encrypt.',
    example: 'https://acme-v02.api.letsencrypt.org/directory',
  },
  acmeStaging: {
    type: toggle,
    default: 'false',
    doc: 'Use of Let’s Encrypt’s staging directory, which has generous rate limits. Browsers don’t trust its certificates.',
  },
  acmeClient: {
    type: oneOf('auto', 'greenlock', 'builtin'),
    default: 'auto',
    doc: 'ACME client that orders certificates. auto uses greenlock, and the built-in client if greenlock itself fails or lacks a feature.',
    example: 'builtin',
  },
  acmeChallenge: {
    type: oneOf('auto', 'http-01', 'tls-alpn-01', 'dns-01'),
    default: 'auto',
    doc: 'How the authority validates the domains: http-01 at port 80, tls-alpn-01 at port 443, or dns-01 by ACME_DNS_HOOK. auto uses dns-01 with a hook. Otherwise, it uses http-01, and after a failed validation tls-alpn-01 for the next attempt.',
    example: 'tls-alpn-01',
  },
  acmeDnsHook: {
    type: text,
    doc: 'Program that adds and removes TXT records for dns-01. It runs as: PROGRAM present|cleanup _acme-challenge.DOMAIN. VALUE. Required for wildcards in DOMAINS.',
    example: '/etc/dockerproxy/dns-hook',
  },
  acmeDnsResolvers: {
    type: listOf(dnsServer),
    default: '',
    doc: 'DNS servers, as ADDRESS or ADDRESS:PORT, that must have the TXT record of dns-01 before the authority validates it. Default: the authoritative servers of the domain.',
    example: '9.9.9.9',
  },
  acmeProfile: {
    type: text,
    doc: 'Certificate profile to request from the authority, such as classic, tlsserver, or shortlived. Default: the authority’s default profile.',
    example: 'shortlived',
  },
  acmePreferredChain: {
    type: text,
    doc: 'Common name of an issuer. If the authority offers several chains, the first one with this issuer is used. Default: the authority’s default chain.',
    example: 'ISRG Root X2',
  },
  acmeEabKid: {
    type: text,
    doc: 'Key identifier of the external account binding, for authorities that require one. Requires ACME_EAB_KEY_FILE.',
    example: 'kid-1',
  },
  acmeEabKeyFile: {
    type: text,
    doc: 'File with the HMAC key of the external account binding, in base64url. Requires ACME_EAB_KID.',
    example: '/run/credentials/dockerproxy.service/eab-key',
  },
  acmeFallbackDirectory: {
    type: httpsUrl,
    doc: 'ACME directory URL of a second authority. It is asked after the first one has failed for two days, or sooner if the certificate expires within four days.',
    example: 'https://acme.zerossl.com/v2/DV90',
  },
  acmeFallbackEabKid: {
    type: text,
    doc: 'Key identifier of the external account binding at ACME_FALLBACK_DIRECTORY. Requires ACME_FALLBACK_EAB_KEY_FILE.',
    example: 'kid-2',
  },
  acmeFallbackEabKeyFile: {
    type: text,
    doc: 'File with the HMAC key of ACME_FALLBACK_EAB_KID, in base64url.',
    example: '/run/credentials/dockerproxy.service/fallback-eab-key',
  },
  acmeCaFile: {
    type: text,
    doc: 'PEM file with root certificates that are also trusted for connections to the certificate authority, for a private authority.',
    example: '/etc/dockerproxy/acme-ca.pem',
  },
  tlsCertFile: {
    type: text,
    doc: 'PEM file with the certificate and its chain, reloaded when it changes. Only with --tls files.',
    example: '/run/credentials/dockerproxy.service/tls.crt',
  },
  tlsKeyFile: {
    type: text,
    doc: 'PEM file with the private key of TLS_CERT_FILE. Only with --tls files.',
    example: '/run/credentials/dockerproxy.service/tls.key',
  },
} as const satisfies Record<string, Setting<unknown>>;
