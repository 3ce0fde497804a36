import { isJsonObject, parseJsonObject } from '../oci/json.ts';
import type { Repository } from '../oci/reference.ts';
import { createHubApi, type HubApiOptions } from './hub-api.ts';

/** The properties of a tag that its registry lists without a request for its manifest. */
export interface TagDetails {
  /** Bytes of the layers for the platform that Docker Hub shows first; undefined if unknown. */
  readonly size: number | undefined;
  /** Time of the last push; undefined if unknown. */
  readonly pushed: Date | undefined;
  /** Such as `linux/arm64`. */
  readonly platforms: readonly string[];
}

/** Lists the details of tags that contain a text, by tag. Returns an empty map if they are unknown. */
export type DescribeTags = (
  repository: Repository,
  text: string,
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, TagDetails>>;

const PAGE_SIZE = '100';
const PLATFORMS_LIMIT = 20;
const NO_TAGS: ReadonlyMap<string, TagDetails> = new Map();

/**
 * Reads tags by Docker Hub's API: `GET /v2/namespaces/library/repositories/nginx/tags?name=TEXT` →
 * `{"results": [{"name", "full_size", "last_updated", "images": [{"os", "architecture", …}]}]}`.
 */
export function createTagDescriber(options: HubApiOptions): DescribeTags {
  const ask = createHubApi(options, { name: 'tag-details', parse: parseTags });
  return async ({ domain, path }, text, signal) => {
    const [, namespace, name] = /^([\w-]+)\/([\w.-]+)$/.exec(path) ?? [];
    if (domain !== 'docker.io' || namespace === undefined) return NO_TAGS;
    const asked = new URL(`/v2/namespaces/${namespace}/repositories/${name}/tags`, options.url);
    asked.searchParams.set('page_size', PAGE_SIZE);
    if (text !== '') asked.searchParams.set('name', text);
    return (await ask(asked, signal)) ?? NO_TAGS;
  };
}

function parseTags(body: Uint8Array): ReadonlyMap<string, TagDetails> {
  const results = parseJsonObject(body)?.results;
  if (!Array.isArray(results)) throw new Error('Docker Hub sent no list of tags');
  return new Map(results.flatMap(tagOf));
}

function tagOf(result: unknown): [string, TagDetails][] {
  if (!isJsonObject(result) || typeof result.name !== 'string') return [];
  const { name, full_size: size, last_updated: updated, images } = result;
  const pushed = new Date(typeof updated === 'string' ? updated : Number.NaN);
  const details = {
    size: typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? size : undefined,
    pushed: Number.isNaN(pushed.getTime()) ? undefined : pushed,
    platforms: Array.isArray(images)
      ? [...new Set(images.flatMap(platformOf))].slice(0, PLATFORMS_LIMIT)
      : [],
  };
  return [[name, details]];
}

/** Attestations have the platform `unknown/unknown`. */
function platformOf(image: unknown): string[] {
  if (!isJsonObject(image)) return [];
  const parts = [image.os, image.architecture, image.variant].filter(
    (part) => typeof part === 'string' && /^[a-z0-9]+$/.test(part) && part !== 'unknown',
  );
  return parts.length > 1 ? [parts.join('/')] : [];
}
