/** A tar archive, or an entry of it, that container engines refuse. The message says why. */
export class MalformedTar extends Error {
  override readonly name = 'MalformedTar';
}
