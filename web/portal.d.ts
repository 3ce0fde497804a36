import type { ArchiveFormat } from '../src/archive/format.ts';
import type { ImageDetails } from '../src/http/api/image.ts';
import type { SearchResults } from '../src/http/api/search.ts';
import type { TagPage } from '../src/http/api/tags.ts';
import type { PageData } from '../src/http/portal/page.ts';
import type { Problem as ProblemDetails } from '../src/http/problems/problem-schema.ts';

/** The types and the documentation of the page's modules, here because a visitor does not need them. */
declare global {
	namespace Portal {
		type Problem = Partial<ProblemDetails>;
		type Image = ImageDetails;
		type Format = Exclude<ArchiveFormat, 'docker-classic' | 'rootfs'>;
		/** The data that the page contains for its modules. */
		type Data = PageData;
		/** The limits by their names. */
		type Limits = Record<string, { limit: number; remaining: number; active?: number } | null>;
		type Answers = { image: Image; tags: TagPage; search: SearchResults; limits: Limits };

		/** Asks the API of this service. @throws Error with the problem as its cause */
		type Ask = <Name extends keyof Answers>(
			name: Name,
			query?: Record<string, string>,
			signal?: AbortSignal,
		) => Promise<Answers[Name]>;
		/** Sends a request, and returns a successful response. @throws Error with the problem as its cause */
		type Request = (url: string, options?: RequestInit) => Promise<Response>;
		/** The headers that a download will have, or why it will be refused. @throws Error with the problem as its cause */
		type Peek = (url: string, signal: AbortSignal) => Promise<Headers>;

		/**
		 * Reports that the service does not answer, unless the request is obsolete. @throws Error with the problem as its
		 * cause
		 */
		type Unreachable = (error?: Error) => never;

		/** The images that a pasted text names, in lower case except for the tag. */
		interface Pasted {
			images: string[];
			platform?: string;
			problem?: 'digest' | 'unreadable';
		}
		/**
		 * Reads names, commands, lines of a Dockerfile or a YAML file, and addresses of web pages. Only the marked lines
		 * of a Dockerfile or a YAML file name images. Commands such as `docker compose up` are ignored. Names are
		 * converted to lower case, because phone keyboards capitalize the first letter.
		 */
		type ParsePaste = (text: string) => Pasted;

		type ReadWord = (word: string, pasted: Pasted) => void;

		interface Download {
			images: string[];
			/** Empty: what the server takes for it. */
			platform: string;
			format: Format;
		}
		/** The path and query of a download, without what the server takes for granted. */
		type DownloadUrl = (download: Download) => string;
		/** Returns download commands by tool; each resumes an interrupted download, if the tool can. */
		type FetchCommands = (url: string, file: string, format: Format) => Record<string, string>;
		/**
		 * Returns commands by tool that pull images through the registry API. The result is empty if the registry of an
		 * image has a port, because a repository name cannot contain one.
		 *
		 * @param host the host of this service, with its port
		 * @param platform empty for the default
		 */
		type PullCommands = (host: string, names: string[], platform: string) => Record<string, string>;
		/** Returns load commands, one for each tool; those of udocker and Apptainer only for a file with one image. */
		type LoadCommands = (file: string, format: Format, images: number) => string;
		/** For each format: the tools that load only this format, and the transport of skopeo and Apptainer. */
		type Loaders = Record<Exclude<Format, 'files'>, { own: string[]; as: 'docker-archive' | 'oci-archive' }>;

		/** One thing to choose. */
		interface Option {
			label: string;
			note?: string;
			choose(): void;
		}
		/**
		 * A list below a field: arrows move, Enter chooses, Escape closes.
		 *
		 * @see https://www.w3.org/WAI/ARIA/apg/patterns/combobox/
		 */
		type Suggest = (
			input: HTMLInputElement,
			list: HTMLElement,
			load: (text: string, signal: AbortSignal) => Promise<Option[]>,
		) => { ask(): void; close(): void; show(options: Option[], active?: number): void };
		/** Finds what could stand at the end of a text: tags behind a colon, repositories before it. */
		type Find = (
			text: string,
			signal: AbortSignal,
			how: { search: boolean; fill(text: string): void; show(options: Option[], active: number): void },
		) => Promise<Option[]>;

		/** The response for an image, or its problem. */
		type Asked = PromiseSettledResult<Image>;
		/**
		 * Looks up what the field says, and shows it. `put` adds an address to the history or replaces the last one;
		 * `moves` says whether the focus moves to the download.
		 */
		type LookUp = (how?: { put?: 'pushState' | 'replaceState'; moves?: boolean }) => Promise<void>;
		/** Shows images by the names that they were asked for by. @throws Error with the problem as its cause */
		type Show = (
			images: string[],
			asked: Asked[],
			signal: AbortSignal,
			put: 'pushState' | 'replaceState',
		) => Promise<void>;
		/** One of several images, with its size or with its problem and the tags to use instead. */
		type RowOf = (images: string[], at: number, asked: Asked) => HTMLElement;
		/** Tells what went wrong, in place of what was looked up; above it, where something else can be tried again. */
		type Fail = (error: unknown, again?: () => void) => void;

		/** A text in the language of the page, with values put in. */
		type Text = (key: string, values?: Record<string, string | number>) => string;
		/** With its unit, in the language of the page. */
		type Exact = (value: number, unit?: string | undefined, unitDisplay?: 'long' | 'short') => string;
		/** Shows what happened, what to do, and when to retry. Returns what happened, in one sentence. */
		type ShowProblem = (
			problem: Problem,
			actions: { retry(): void; choose(platform: string): void; chooseTag(tag: string): void },
		) => string;
		/**
		 * Does something with a download, until the signal says that another one is shown.
		 *
		 * @throws Error with the problem as its cause
		 */
		type Task = (url: string, signal: AbortSignal, say: (text: string) => void) => Promise<void>;
		/** Runs the task of a module that few need; goes where it would lead, where a newer service has it no more. */
		type Load = (module: Promise<{ task: Task }>, url: string) => void;

		/** A button that does something here, which is not to send a form. */
		type MakeButton = (text: string, onclick: () => void) => HTMLButtonElement;
		interface Elements {
			image: HTMLInputElement;
			platform: HTMLSelectElement;
			format: Omit<HTMLSelectElement, 'value'> & { get value(): Format; set value(name: string) };
			pin: HTMLInputElement;
			download: HTMLAnchorElement;
			metalink: HTMLAnchorElement;
			bar: HTMLProgressElement;
			card: HTMLTemplateElement;
			data: HTMLTemplateElement;
		}
		/** An element of the page, which has it. */
		type ById = <Id extends string>(id: Id) => Id extends keyof Elements ? Elements[Id] : HTMLElement;
		/** An element with properties. */
		type Make = <Tag extends keyof HTMLElementTagNameMap>(
			tag: Tag,
			properties?: object,
		) => HTMLElementTagNameMap[Tag];
		/** The details of an image or artifact. */
		type MakeCard = (image: Image) => DocumentFragment;
		/** A line in the list of several images. */
		type MakeRow = (
			name: string,
			line: { note: string; isWrong?: boolean; remove(): void; choices?: HTMLElement[] },
		) => HTMLElement;
		/** Offers what all the images are there for. */
		type FillPlatforms = (select: HTMLElement, images: Image[]) => void;
		/** Lines to copy, for the tool that was chosen last. */
		type ShowCommands = (url: string, file: string, format: Format, pulls: Record<string, string>) => void;
	}
}
