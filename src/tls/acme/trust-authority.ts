import { nodeTls } from '../../util/builtins.ts';
import { trustSystemAuthorities } from '../../util/system-authorities.ts';

/** Trusts the certificates of a private authority, in PEM, beside those of the system, in this thread. */
export function trustAuthority(certificates: string | undefined): void {
  trustSystemAuthorities();
  if (certificates === undefined) return;
  const { getCACertificates, setDefaultCACertificates } = nodeTls();
  const own = certificates.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  setDefaultCACertificates([...getCACertificates('default'), ...own]);
}
