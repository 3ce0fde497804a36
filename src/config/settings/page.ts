import type { Setting } from '../setting.ts';
import { contact, text, urlOrOff } from '../types.ts';

/** The operator and the search on the web page. */
export const PAGE = {
  operatorName: {
    reloads: true,
    type: text,
    doc: 'Name of the operator, shown on the page.',
    example: 'Example Labs',
  },
  operatorContact: {
    reloads: true,
    type: contact,
    doc: 'Contact of the operator, shown on the page: an email address or an https:// URL.',
    example: 'images@example.org',
  },
  searchUrl: {
    type: urlOrOff,
    default: 'https://hub.docker.com/v2/search/repositories/',
    doc: 'URL of the search API that suggests repositories as users type: Docker Hub’s or a compatible one. It receives what users type. The same host describes tags of Docker Hub. off turns suggestions and descriptions off.',
  },
} as const satisfies Record<string, Setting<unknown>>;
