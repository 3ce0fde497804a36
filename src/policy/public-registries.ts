import { type NamePattern, parseNamePattern } from '../oci/name-pattern.ts';

/** The registries that are allowed by default, because they publish for everyone. */
export const PUBLIC_REGISTRIES: readonly NamePattern[] = [
  'docker.io/**',
  'ghcr.io/**',
  'quay.io/**',
  'gcr.io/**',
  '*.gcr.io/**',
  '*.pkg.dev/**',
  'registry.k8s.io/**',
  'mcr.microsoft.com/**',
  'public.ecr.aws/**',
  'registry.gitlab.com/**',
  'lscr.io/**',
  'nvcr.io/**',
  'cgr.dev/**',
  'dhi.io/**',
  'codeberg.org/**',
  'docker.elastic.co/**',
  'registry.access.redhat.com/**',
  'registry.fedoraproject.org/**',
  'registry.opensuse.org/**',
  'registry.suse.com/**',
].map(parseNamePattern);
