import { type Detail, inEnglish } from '../errors/details.ts';

/** A tar archive, or an entry of it, that container engines refuse. */
export class MalformedTar extends Error {
  override readonly name = 'MalformedTar';
  /** The fault, in a sentence whose subject is the archive. */
  readonly reason: Detail;

  constructor(reason: Detail) {
    super(inEnglish([reason]));
    this.reason = reason;
  }
}
