import { MEDIA_TYPES } from '../../oci/manifest.ts';

/** The response to a request for a manifest: itself, the image of a platform in it, or an error. */
export type Negotiated = 'manifest' | 'platform' | 'nothing';

const MANIFEST_TYPES: ReadonlySet<string> = new Set(Object.values(MEDIA_TYPES));
const OCI_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.ociIndex, MEDIA_TYPES.ociManifest]);
const WILDCARDS = ['*/*', 'application/*'];
/** A weight of zero: the client does not accept the type. */
const IS_REFUSED = /;\s*q=0(?:\.0*)?\s*(?:;|$)/i;

/**
 * Decides by the Accept header as the distribution registry does. Only clients that accept an OCI manifest get it. A client
 * that does not know manifest lists gets the image of a platform for a tag. All others get the manifest itself, and so do
 * clients whose header names no manifest.
 *
 * @param accept the Accept header, its lines joined by commas
 * @see https://github.com/distribution/distribution/blob/v2.8.3/registry/handlers/manifests.go
 */
export function negotiate(accept: string | undefined, mediaType: string, isTag: boolean): Negotiated {
  const accepted = (accept ?? '').split(',').filter((type) => !IS_REFUSED.test(type));
  const types = accepted.map((type) => type.replace(/;.*$/s, '').trim().toLowerCase());
  const isOpen =
    types.some((type) => WILDCARDS.includes(type)) || !types.some((type) => MANIFEST_TYPES.has(type));
  if (isOpen || types.includes(mediaType)) return 'manifest';
  if (OCI_TYPES.has(mediaType)) return 'nothing';
  const isUnknownList = mediaType === MEDIA_TYPES.dockerIndex && types.includes(MEDIA_TYPES.dockerManifest);
  return isTag && isUnknownList ? 'platform' : 'manifest';
}
