import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Blob, blob, type Manifest, manifest } from './images.ts';
import { runOrThrow } from './process.ts';
import { temporaryFolder } from './temporary-folder.ts';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const PAYLOAD_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';
const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const SIGNED_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';

const ALGORITHMS = {
  'P-256': ['EC', 'ec_paramgen_curve:P-256', 'sha256'],
  'P-384': ['EC', 'ec_paramgen_curve:P-384', 'sha384'],
  'P-521': ['EC', 'ec_paramgen_curve:P-521', 'sha512'],
  'RSA-2048': ['RSA', 'rsa_keygen_bits:2048', 'sha256'],
  'RSA-1024': ['RSA', 'rsa_keygen_bits:1024', 'sha256'],
  Ed25519: ['ED25519', undefined, undefined],
} as const;

export type SigningAlgorithm = keyof typeof ALGORITHMS;

/** A key pair of openssl's, and what it signs. */
export interface Signer extends AsyncDisposable {
  /** Paths of PEM files. */
  publicKey: string;
  privateKey: string;
  /** The public key in PEM. */
  pem: string;
  /** The signature of some bytes in base64, by `openssl dgst -sign`. */
  sign(bytes: Uint8Array, hash?: string): Promise<string>;
}

/** @param name the name of the public key's file, without its extension */
export async function createSigner(name = 'team', algorithm: SigningAlgorithm = 'P-256'): Promise<Signer> {
  const folder = await temporaryFolder();
  const [kind, option, usualHash] = ALGORITHMS[algorithm];
  const [privateKey, publicKey] = [join(folder.path, `${name}.key`), join(folder.path, `${name}.pub`)];
  const options = option === undefined ? [] : ['-pkeyopt', option];
  await runOrThrow('openssl', ['genpkey', '-algorithm', kind, ...options, '-out', privateKey]);
  await runOrThrow('openssl', ['pkey', '-in', privateKey, '-pubout', '-out', publicKey]);
  let signed = 0;
  return {
    publicKey,
    privateKey,
    pem: await readFile(publicKey, 'utf8'),
    async sign(bytes, hash = usualHash) {
      const [message, signature] = [join(folder.path, `${signed}`), join(folder.path, `${signed++}.sig`)];
      await writeFile(message, bytes);
      await runOrThrow(
        'openssl',
        hash === undefined
          ? ['pkeyutl', '-sign', '-inkey', privateKey, '-rawin', '-in', message, '-out', signature]
          : ['dgst', `-${hash}`, '-sign', privateKey, '-out', signature, message],
      );
      return (await readFile(signature)).toString('base64');
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/**
 * Returns the payload that `cosign sign` signs.
 *
 * @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
export function simpleSigning(digest: string, reference = 'registry.example/team/app'): Buffer {
  const critical = {
    identity: { 'docker-reference': reference },
    image: { 'docker-manifest-digest': digest },
    type: 'cosign container image signature',
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

/** A layer of a manifest of signatures. */
export function signatureLayer(payload: Uint8Array, signature: string): Blob {
  return blob(PAYLOAD_TYPE, payload, { annotations: { 'dev.cosignproject.cosign/signature': signature } });
}

/** The manifest that cosign pushes under `sha256-….sig`, or, with a subject, as a referrer. */
export function signatureManifest(layers: readonly Blob[], subject?: Manifest['descriptor']): Manifest {
  const type = 'application/vnd.dev.cosign.artifact.sig.v1+json';
  const config = blob(subject ? type : 'application/vnd.oci.image.config.v1+json', Buffer.from('{}'));
  return artifactOf(config, layers, subject && { artifactType: type, subject });
}

/** The tag under which cosign keeps the signatures of a manifest. */
export function signatureTag(digest: string): string {
  return `${digest.replace(':', '-')}.sig`;
}

/** A manifest with one signature of a digest, as `cosign sign --key` pushes it. */
export async function signed(
  signer: Signer,
  digest: string,
  subject?: Manifest['descriptor'],
): Promise<Manifest> {
  const payload = simpleSigning(digest);
  return signatureManifest([signatureLayer(payload, await signer.sign(payload))], subject);
}

/**
 * Returns the referrer that cosign 3 pushes: a Sigstore bundle with the signature of a key.
 *
 * @see https://docs.sigstore.dev/about/bundle/
 */
export async function signedBundle(
  signer: Signer,
  subject: Manifest['descriptor'],
  predicateType = SIGNED_PREDICATE,
): Promise<Manifest> {
  const bundle = blob(BUNDLE_TYPE, await bundleBytes(signer, subject.digest, predicateType));
  const config = blob('application/vnd.oci.empty.v1+json', Buffer.from('{}'));
  const annotations = { 'dev.sigstore.bundle.predicateType': predicateType };
  return artifactOf(config, [bundle], { artifactType: BUNDLE_TYPE, subject, annotations });
}

export async function bundleBytes(
  signer: Signer,
  digest: string,
  predicateType = SIGNED_PREDICATE,
): Promise<Buffer> {
  const [algorithm = '', hex = ''] = digest.split(':');
  const statement = Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest: { [algorithm]: hex } }],
      predicateType,
      predicate: {},
    }),
  );
  const payloadType = 'application/vnd.in-toto+json';
  const head = Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${statement.length} `);
  const sig = await signer.sign(Buffer.concat([head, statement]));
  const dsseEnvelope = { payload: statement.toString('base64'), payloadType, signatures: [{ sig }] };
  const verificationMaterial = { publicKey: { hint: 'test' }, tlogEntries: [] };
  return Buffer.from(JSON.stringify({ mediaType: BUNDLE_TYPE, verificationMaterial, dsseEnvelope }));
}

/** The list of referrers of a manifest, for its tag at registries that have no such list. */
export function referrersOf(referrers: readonly Manifest[]): Manifest {
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const manifests = referrers.map(({ descriptor, bytes }) => {
    const { artifactType, annotations } = JSON.parse(`${bytes}`) as Partial<Manifest['descriptor']>;
    return { ...descriptor, ...(artifactType && { artifactType }), ...(annotations && { annotations }) };
  });
  return manifest(mediaType, { schemaVersion: 2, mediaType, manifests }, [], [...referrers]);
}

function artifactOf(config: Blob, layers: readonly Blob[], more: object = {}): Manifest {
  const descriptors = { config: config.descriptor, layers: layers.map(({ descriptor }) => descriptor) };
  const body = { schemaVersion: 2, mediaType: MANIFEST_TYPE, ...more, ...descriptors };
  return manifest(MANIFEST_TYPE, body, [...new Set([config, ...layers])], []);
}
