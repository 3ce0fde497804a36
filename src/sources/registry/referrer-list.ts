import type { Descriptor } from '../../oci/descriptor.ts';
import type { Digest } from '../../oci/digest.ts';
import { isJsonObject, parseJsonObject } from '../../oci/json.ts';
import { ANNOTATIONS } from '../../oci/manifest.ts';
import type { Platform } from '../../oci/platform.ts';
import { referrerKinds } from '../../oci/referrer-kind.ts';
import type { RegistryClient } from '../../registry/client.ts';
import type { Documents, Served } from '../documents.ts';
import type { FindReferrersOf, ReferrerDetails } from '../image-catalogue.ts';
import { isMissingImage } from './artifact-resolver.ts';
import type { ManifestSearch } from './content-kind.ts';
import { resolveImage, signableDigests } from './image-resolver.ts';
import { createReferrerFinder, type ReferrerFinderOptions } from './referrers.ts';

export interface ReferrerListOptions extends ReferrerFinderOptions {
  readonly client: RegistryClient;
  readonly documents: Documents;
  readonly defaultPlatform: Platform;
}

const REFERRERS_MAX = 100;
/** Maximum manifests that are read to classify a referrer by its layers. */
const READ_MAX = 10;
const ANNOTATIONS_MAX = 16;
/** Maximum characters of the name or value of an annotation. */
const TEXT_MAX = 512;
const PREDICATE = /predicate-?type$/i;

/** Creates the search for referrers of images, by the registry's list, cosign's tags, and the attestations in an index. */
export function createReferrerList(options: ReferrerListOptions): FindReferrersOf {
  const { client, documents, defaultPlatform } = options;
  const begin = createReferrerFinder(options);

  return async ({ reference, platform }, signal) => {
    const search = { client, documents, reference, signal };
    const { subjects, index } = await subjectsOf(search, platform, defaultPlatform);
    const { find, isPartial } = begin();
    const found: ReferrerDetails[] = [];
    let toRead = READ_MAX;
    const read = async (digest: Digest): Promise<Served | undefined> => {
      toRead -= 1;
      return toRead < 0 ? undefined : client.manifest(reference, digest, signal);
    };
    const describe = async (
      subject: Digest,
      entry: Descriptor,
      raw: unknown,
      served?: Served,
    ): Promise<void> => {
      const { digest, size, artifactType } = entry;
      const stated = [artifactType ?? '', entry.annotations?.[ANNOTATIONS.bundlePredicate] ?? ''];
      const known = referrerKinds(stated);
      const isUnknown = known.includes('other');
      const manifest = served ?? (isUnknown ? await read(digest) : undefined);
      const kinds = isUnknown && manifest ? referrerKinds([...stated, ...typesIn(manifest)]) : known;
      found.push({ kinds, artifactType, digest, size, subject, annotations: annotationsOf(raw) });
    };
    for (const subject of subjects) {
      for await (const { found: served } of find(reference, [subject], signal)) {
        const links = documents.links(served);
        if (links.kind === 'manifest') {
          const { digest, bytes } = served;
          const entry = {
            mediaType: links.mediaType,
            digest,
            size: bytes.length,
            artifactType: links.artifactType,
          };
          await describe(subject, withoutUndefined(entry), parseJsonObject(bytes), served);
          continue;
        }
        const raw = parseJsonObject(served.bytes)?.manifests;
        for (const [at, entry] of links.manifests.slice(0, REFERRERS_MAX).entries())
          await describe(subject, entry, Array.isArray(raw) ? raw[at] : undefined);
      }
    }
    for (const entry of index) {
      const subject = subjects.find((one) => entry.annotations?.[ANNOTATIONS.referenceDigest] === one);
      if (subject !== undefined) await describe(subject, entry, { annotations: entry.annotations });
    }
    const each = [...new Map(found.map((one) => [one.digest, one])).values()];
    return {
      referrers: each.slice(0, REFERRERS_MAX),
      isComplete: !isPartial() && each.length <= REFERRERS_MAX,
    };
  };
}

/** Finds the manifests that referrers may refer to, and the entries of the index. */
async function subjectsOf(
  search: ManifestSearch,
  platform: Platform | undefined,
  defaultPlatform: Platform,
): Promise<{ readonly subjects: readonly Digest[]; readonly index: readonly Descriptor[] }> {
  const { client, documents, reference, signal } = search;
  const options = { platform, defaultPlatform, prefersGzip: true, documents };
  const root = await client.manifest(reference, reference.digest ?? reference.tag ?? 'latest', signal);
  const links = documents.links(root);
  const index = links.kind === 'index' ? links.manifests : [];
  const image = await resolveImage(client, reference, options, signal).catch((error: unknown) => {
    if (!isMissingImage(error)) throw error;
  });
  return { subjects: image === undefined ? [root.digest] : signableDigests(image), index };
}

/** Lists the types in a manifest: of its layers, and of the statements in them. */
function typesIn({ bytes }: Served): string[] {
  const { layers } = parseJsonObject(bytes) ?? {};
  return (Array.isArray(layers) ? layers.slice(0, REFERRERS_MAX) : []).flatMap((layer) => {
    const { mediaType } = isJsonObject(layer) ? layer : {};
    const predicates = Object.entries(annotationsOf(layer)).flatMap(([name, value]) =>
      PREDICATE.test(name) ? [value] : [],
    );
    return typeof mediaType === 'string' ? [mediaType, ...predicates] : predicates;
  });
}

/** Reads the annotations of a descriptor or manifest. Omits long ones. */
function annotationsOf(value: unknown): Record<string, string> {
  const annotations = isJsonObject(value) && isJsonObject(value.annotations) ? value.annotations : {};
  const kept = Object.entries(annotations).filter(
    (pair): pair is [string, string] =>
      typeof pair[1] === 'string' && pair[1].length <= TEXT_MAX && pair[0].length <= TEXT_MAX,
  );
  return Object.fromEntries(kept.slice(0, ANNOTATIONS_MAX));
}

function withoutUndefined({
  artifactType,
  ...entry
}: Omit<Descriptor, 'artifactType'> & { readonly artifactType: string | undefined }): Descriptor {
  return { ...entry, ...(artifactType !== undefined && { artifactType }) };
}
