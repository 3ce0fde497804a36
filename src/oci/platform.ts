import { detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';

declare const brand: unique symbol;

/** An operating system and processor in containerd's normal form, which only {@link parsePlatform} makes. */
export interface Platform {
  readonly [brand]: 'Platform';
  readonly os: string;
  readonly architecture: string;
  /** `v7` in `linux/arm/v7`; absent for the common variant of the architecture (`arm64` is `arm64/v8`). */
  readonly variant: string | undefined;
}

/** The platform in an index or a config. An absent field matches any request. */
export interface StatedPlatform {
  readonly os?: string | undefined;
  readonly architecture?: string | undefined;
  readonly variant?: string | undefined;
  /** The OS version, such as `10.0.17763.5696`: an index can list several versions of Windows. */
  readonly osVersion?: string | undefined;
}

/** Several platforms at once: all of an index, or the named ones. */
export type Platforms = 'all' | readonly Platform[];

/** Defaults for absent fields. */
const DEFAULTS = { os: 'linux', architecture: 'amd64' } as const;

const ARCHITECTURE_ALIASES = new Map([
  ['x86_64', 'amd64'],
  ['x86-64', 'amd64'],
  ['aarch64', 'arm64'],
  ['armhf', 'arm'],
  ['i386', '386'],
]);

/** Architectures that imply Linux if a platform begins with them: those that Go compiles for, and their aliases. */
const LINUX_ARCHITECTURES: ReadonlySet<string> = new Set([
  ...['386', 'amd64', 'arm', 'arm64', 'loong64', 'mips', 'mips64', 'mips64le', 'mipsle'],
  ...['ppc64', 'ppc64le', 'riscv64', 's390x'],
  ...ARCHITECTURE_ALIASES.keys(),
]);

/**
 * Parses `os/architecture[/variant]`, as `docker pull --platform` takes it. A known architecture without an operating
 * system is for Linux: `arm64`, `arm/v7`.
 *
 * @throws ServiceError `platform-invalid`
 * @see https://github.com/containerd/platforms
 */
export function parsePlatform(text: string): Platform {
  const [first = ''] = text.toLowerCase().split('/', 1);
  const full = LINUX_ARCHITECTURES.has(first) ? `${DEFAULTS.os}/${text}` : text;
  const match = /^([a-z][a-z0-9]{0,31})\/([a-z0-9][a-z0-9_-]{0,31})(?:\/([a-z0-9][a-z0-9_.-]{0,31}))?$/i.exec(
    full,
  );
  if (match === null) {
    throw new ServiceError('platform-invalid', detail('platform-invalid', { text: quote(text) }));
  }
  const [, os = '', architecture = '', variant] = match;
  return normalisePlatform({ os, architecture, variant });
}

/** Writes a platform as `linux/arm64` or `linux/arm/v7`. Absent fields default to `linux` and `amd64`. */
export function formatPlatform({
  os = DEFAULTS.os,
  architecture = DEFAULTS.architecture,
  variant,
}: StatedPlatform): string {
  return variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`;
}

/** Tells whether two platforms are the same after normalization. */
export function samePlatform(a: StatedPlatform, b: StatedPlatform): boolean {
  return formatPlatform(normalisePlatform(a)) === formatPlatform(normalisePlatform(b));
}

/** Tells whether a platform states both its operating system and its architecture. */
export function isComplete({ os, architecture }: StatedPlatform): boolean {
  return os !== undefined && architecture !== undefined;
}

/**
 * Selects the first candidate, in a registry's order, that runs best on the wanted platform. It prefers the same
 * variant, then the next older one of the same processor family, and never selects another architecture. A platform
 * with an absent field is selected only if no complete platform fits.
 *
 * @see https://github.com/containerd/platforms/blob/main/compare.go (platformVector)
 */
export function selectPlatform<T>(
  wanted: Platform,
  candidates: readonly T[],
  platformOf: (candidate: T) => StatedPlatform | undefined,
): T | undefined {
  return selectPlatforms(wanted, candidates, platformOf)[0];
}

/** Picks all candidates that fit equally well as the one from {@link selectPlatform}, in their order. */
export function selectPlatforms<T>(
  wanted: Platform,
  candidates: readonly T[],
  platformOf: (candidate: T) => StatedPlatform | undefined,
): readonly T[] {
  const stated = candidates.flatMap((candidate) => {
    const platform = platformOf(candidate);
    return platform === undefined ? [] : [{ candidate, platform }];
  });
  for (const group of [stated.filter(({ platform }) => isComplete(platform)), stated]) {
    for (const variant of acceptableVariants(wanted)) {
      const exact = formatPlatform({ ...wanted, variant });
      const fitting = group.filter(
        ({ platform }) => formatPlatform(normalisePlatform(completed(platform, wanted))) === exact,
      );
      const version = fitting[0]?.platform.osVersion;
      const equals = fitting.filter(({ platform }) => platform.osVersion === version);
      if (equals.length > 0) return equals.map(({ candidate }) => candidate);
    }
  }
  return [];
}

/** Fills the absent fields of a platform from another one. */
export function completed(stated: StatedPlatform, other: StatedPlatform): StatedPlatform {
  const { os, architecture, variant, ...rest } = stated;
  return {
    ...rest,
    os: os ?? other.os,
    architecture: architecture ?? other.architecture,
    variant: variant ?? (architecture === undefined ? other.variant : undefined),
  };
}

/** Normalizes a platform: `linux/arm64/v8` becomes `linux/arm64`, and absent fields get their defaults. */
export function normalisePlatform(stated: StatedPlatform): Platform {
  const os = (stated.os ?? DEFAULTS.os).toLowerCase();
  const given = (stated.architecture ?? DEFAULTS.architecture).toLowerCase();
  const architecture = ARCHITECTURE_ALIASES.get(given) ?? given;
  const variant = stated.variant?.toLowerCase();
  return { os, architecture, variant: normaliseVariant(architecture, variant) } as Platform;
}

function normaliseVariant(architecture: string, variant: string | undefined): string | undefined {
  if (architecture === 'arm') return variant ? variant.replace(/^(?=\d)/, 'v') : 'v7';
  if (architecture === 'arm64' && (variant === 'v8' || variant === '8')) return undefined;
  if (architecture === 'amd64' && variant === 'v1') return undefined;
  return variant || undefined;
}

/** The oldest variant of each family that newer ones still run; absent means the first entry's own. */
const OLDEST = new Map([
  ['arm', 5],
  ['arm64', 8],
  ['amd64', 1],
]);

function acceptableVariants({ architecture, variant }: Platform): (string | undefined)[] {
  const oldest = OLDEST.get(architecture);
  const newest = Number(/^v(\d{1,2})$/.exec(variant ?? '')?.[1]);
  if (oldest === undefined || Number.isNaN(newest)) return [variant];
  const variants: (string | undefined)[] = [];
  for (let version = newest; version >= oldest; version--) {
    variants.push(normaliseVariant(architecture, `v${version}`));
  }
  return variants;
}
