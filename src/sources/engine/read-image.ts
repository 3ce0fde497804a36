import { parseTimestamp, summariseConfig } from '../../oci/config-summary.ts';
import type { JsonObject } from '../../oci/json.ts';
import type { EngineImage } from './engine-images.ts';
import { fullName } from './engine-name.ts';

/** Reads the response of the API to the inspection of an image. @throws Error if it has no ID */
export function readImage(inspected: JsonObject): EngineImage {
  const { Id, Size, Os, Architecture, Variant, RepoDigests, Created, Config } = inspected;
  if (typeof Id !== 'string') throw new Error('The engine describes an image without its ID');
  return {
    id: Id,
    listedId: Id,
    chosen: undefined,
    size: typeof Size === 'number' ? Size : 0,
    platform: {
      // The containerd store can have an index without any of its platforms.
      os: typeof Os === 'string' && Os !== '' ? Os : 'unknown',
      architecture: typeof Architecture === 'string' && Architecture !== '' ? Architecture : 'unknown',
      ...(typeof Variant === 'string' && { variant: Variant }),
    },
    repoDigests: Array.isArray(RepoDigests) ? RepoDigests.filter((text) => typeof text === 'string') : [],
    created: parseTimestamp(Created),
    config: summariseConfig(Config),
  };
}

/** Returns the full names of a listed image. Engines list a nameless one as <none>:<none>, an empty list, or null. */
export function tagsIn(listed: readonly string[] | null | undefined): readonly string[] {
  return (listed ?? []).filter((name) => !name.startsWith('<none>')).map(fullName);
}
