import { CACHE } from './settings/cache.ts';
import { CLIENTS } from './settings/clients.ts';
import { HTTPS } from './settings/https.ts';
import { IMAGES } from './settings/images.ts';
import { LISTENING } from './settings/listening.ts';
import { LOGS_AND_METRICS } from './settings/logs-and-metrics.ts';
import { PAGE } from './settings/page.ts';
import { REPLICAS } from './settings/replicas.ts';
import { SOURCES } from './settings/sources.ts';

/** The sections, in the order of `--help` and of the reference: title and settings. */
export const SECTIONS = [
  ['Listening', LISTENING],
  ['HTTPS', HTTPS],
  ['Allowed images', IMAGES],
  ['Clients and limits', CLIENTS],
  ['Cache and state', CACHE],
  ['Image sources', SOURCES],
  ['Replicas', REPLICAS],
  ['Web page', PAGE],
  ['Logs and metrics', LOGS_AND_METRICS],
] as const;

export const SCHEMA = {
  ...LISTENING,
  ...HTTPS,
  ...IMAGES,
  ...CLIENTS,
  ...CACHE,
  ...SOURCES,
  ...REPLICAS,
  ...PAGE,
  ...LOGS_AND_METRICS,
};

export type SettingName = keyof typeof SCHEMA;

type Values = { readonly [Name in SettingName]: ReturnType<(typeof SCHEMA)[Name]['type']['parse']> };

/** Settings without a default of their own. */
type Optional =
  | 'allow'
  | 'allowFile'
  | 'denyFile'
  | 'allowClientsFile'
  | 'denyClientsFile'
  | 'policy'
  | 'certsDir'
  | 'redisUrl'
  | 'redisPasswordFile'
  | 'redisSentinelUser'
  | 'redisSentinelPasswordFile'
  | 'redisTlsCaFile'
  | 'redisTlsCertFile'
  | 'redisTlsKeyFile'
  | 'redisKeyFile'
  | 'acmeEmail'
  | 'acmeDnsHook'
  | 'acmeProfile'
  | 'acmePreferredChain'
  | 'acmeEabKid'
  | 'acmeEabKeyFile'
  | 'acmeFallbackDirectory'
  | 'acmeFallbackEabKid'
  | 'acmeFallbackEabKeyFile'
  | 'acmeCaFile'
  | 'tlsCertFile'
  | 'tlsKeyFile'
  | 'operatorName'
  | 'operatorContact';

/** The settings in effect. A setting without a default is undefined if it is not set. */
export type Config = Omit<Values, Optional> & { readonly [Name in Optional]: Values[Name] | undefined };

/** The settings as given, before defaults that depend on other settings are resolved. */
export type GivenSettings = { readonly [Name in SettingName]: Values[Name] | undefined };

/** `maxImageSize` → `DOCKERPROXY_MAX_IMAGE_SIZE`. */
export function environmentName(name: string): string {
  return `DOCKERPROXY_${fileKey(name).toUpperCase()}`;
}

/** `maxImageSize` → `max-image-size`. */
export function flagName(name: string): string {
  return fileKey(name).replaceAll('_', '-');
}

/** `maxImageSize` → `max_image_size`. */
export function fileKey(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
