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
		type Format = ArchiveFormat;
		/** The data that the page contains for its modules. */
		type Data = PageData;
		/** The limits by their names. */
		type Limits = Record<string, { limit: number; remaining: number; active?: number } | null>;
		type Answers = {
			image: Image;
			tags: TagPage;
			search: SearchResults;
			limits: Limits;
			referrers: Referrers;
			files: FilePage;
			layers: { layers: Layer[] };
		};

		/** The credentials of the visitor, and what they change. */
		interface Session {
			headers: { authorization?: string };
			/** Adds the user to the commands of tools that ask for the password. */
			commands(lines: Record<string, string>): Record<string, string>;
			/** Requests a download with the credentials in the body of a form, because browsers store URLs. */
			post: ((url: string) => void) | undefined;
		}
		/** Credentials, and the host of the registry that they are for. */
		interface Credentials {
			host: string;
			user: string;
			password: string;
		}
		type WithUser = (credentials: Credentials) => Session['commands'];
		interface File {
			path: string;
			/** The path for a URL, also if it is not UTF-8. */
			encodedPath: string;
			type: 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo';
			size: number;
			mode: number;
			uid: number;
			gid: number;
			mtime: string;
			link: string | null;
			layer: number;
		}
		/** A page of files. With status 202, it is a problem instead. */
		interface FilePage {
			files: File[];
			next: string | null;
			code?: string;
		}
		interface Layer {
			digest: string;
			command: string | null;
			size: number;
			unpackedSize: number;
			added: number;
			changed: number;
			removed: number;
			hiddenBytes: number;
		}
		interface Referrers {
			referrers: {
				kinds: string[];
				artifactType: string | null;
				digest: string;
				size: number;
				annotations: Record<string, string>;
				downloadUrl: string;
			}[];
			complete: boolean;
		}
		type ImageQuery = Record<string, string>;
		/** Fills a fold-out about an image. @throws Error with the problem as its cause */
		type Fill = (box: HTMLElement, query: ImageQuery, signal: AbortSignal) => Promise<void>;
		type OnOpen = (fold: HTMLDetailsElement, fill: (box: HTMLElement) => Promise<void>) => void;
		type Offer = (image: Image | undefined, platform: string) => void;
		/** Lists a directory by its encoded path. */
		type ListFiles = (path: string, after?: string | null, isRecursive?: boolean) => Promise<FilePage>;
		/** @throws Error with the problem as its cause */
		type ReadLayers = (query: ImageQuery, signal: AbortSignal, stage: HTMLElement) => Promise<void>;
		/** Finds names among those listed so far, after further pages. */
		type CreateSearch = (
			list: ListFiles,
		) => (text: string, pages: number) => Promise<{ files: File[]; total: number; isComplete: boolean }>;
		type ShowEntry = (entry: HTMLElement, file: File, query: ImageQuery, signal: AbortSignal) => void;
		type ListLayers = (query: ImageQuery, signal: AbortSignal) => Promise<HTMLElement>;
		type MakeTree = (
			label: string,
			list: ListFiles,
			pick: (file: File) => void,
		) => { element: HTMLElement; fill(page: FilePage, isFlat?: boolean): Promise<void> };

		/** Asks the API of this service. @throws Error with the problem as its cause */
		type Ask = <Name extends keyof Answers>(
			name: Name,
			query?: Record<string, string>,
			signal?: AbortSignal,
		) => Promise<Answers[Name]>;
		/** Sends a request, and returns a successful response. @throws Error with the problem as its cause */
		type Request = (url: string, options?: RequestInit) => Promise<Response>;
		/**
		 * Returns the headers of a future download, or the reason for a refusal.
		 *
		 * @throws Error with the problem as its cause
		 */
		type Peek = (url: string, signal: AbortSignal) => Promise<Headers>;

		/**
		 * Reports that the service does not answer, unless the request is obsolete. @throws Error with the problem as its
		 * cause
		 */
		type Unreachable = (error?: Error) => never;

		/** The images that a pasted text names, in lower case except for the tag. */
		interface Pasted {
			/** The images that the text means. */
			images: string[];
			/** The images that the text may mean, if the problem is `ambiguous`. `nginx:` means that the tag is unknown. */
			candidates: string[];
			/** The only platform that the text names. */
			platform?: string;
			/** The platforms that the text names, if several. The visitor must choose one, because all images in a file share it. */
			platforms?: string[];
			problem?: 'digest' | 'unreadable' | 'ambiguous';
		}
		/**
		 * Reads names, sentences, commands, build files, YAML, JSON, tables of engines, and addresses of web pages. Names
		 * are converted to lower case, because phone keyboards capitalize the first letter. Several spellings of one image
		 * are one image.
		 *
		 * @param host the host of this service, with its port: its own addresses name images, too
		 */
		type ParsePaste = (text: string, host: string) => Promise<Pasted>;
		type ReadPaste = (text: string, host: string) => Pasted;
		type ReadPlatforms = (text: string, host: string) => ReturnType<Found['platforms']>;
		/** Returns the names of images that contain a variable without a value, which is written `<>`. */
		type ReadUnknown = (text: string, host: string) => ReturnType<Found['unknown']>;
		/** Returns a word as the name of an image; undefined if it is not one. */
		type ToName = (word: string) => string | undefined;

		/** Collects the images of one text. */
		interface Found {
			/**
			 * Adds an image. Without a known tag, the image becomes a candidate. Returns false if the word is not a name.
			 *
			 * @param how.isOpen true if the text does not say which tag is meant
			 * @param how.platform the platform of this image, as the text writes it
			 */
			add(word: string, how?: { isOpen?: boolean; platform?: string | undefined }): boolean;
			/** Adds a candidate for a text without images. */
			maybe(word: string): void;
			/** Notes a digest without a repository. */
			digestAlone(): void;
			/** Notes the platform of an image. Returns false if the text is not a platform. */
			platform(text: string): boolean;
			/** Returns the name in a word, without punctuation; undefined if it is not one. */
			nameOf(word: string): string | undefined;
			/** Tells whether a word marks a sentence. */
			isOfSentence(word: string): boolean;
			/** The platforms that the text names for single images, by the names in {@link Pasted}. */
			platforms(): Map<string, string[]>;
			/** The names that contain a variable without a value. */
			unknown(): string[];
			/** The number of images and candidates. */
			count(): number;
			result(): Pasted;
		}
		type CreateFound = (host: string) => Found;
		/** Adds the images of a text in one form. Returns true if the text has that form, even without images. */
		type Read = (text: string, found: Found) => boolean | undefined;
		/** Adds the images of a command. Returns false if it has no image. */
		type ReadCommand = (words: string[], found: Found) => boolean;
		type ReadArguments = (commands: Record<string, string>, words: string[], found: Found) => boolean;
		/** A scalar, or the members of a mapping or of a list, whose keys are empty. */
		type Node = string | Members;
		type Members = [key: string, value: Node][];
		type AddRepository = (node: Members, texts: Record<string, string | undefined>, found: Found) => void;
		type AddChart = (texts: Record<string, string | undefined>, found: Found) => void;
		type AddList = (list: Members, found: Found) => void;
		/** Returns the images that a web page names, or may belong to. */
		type ReadAddress = (address: string) => { names?: string[]; candidates?: string[]; platform?: string };

		interface Download {
			images: string[];
			/** Empty for the default of the server. */
			platform: string;
			format: Format;
		}
		/** Further parameters of a download, by their names. */
		type Extras = { name: string; value: string }[];
		/** Shows only the fields that apply to a format. */
		type FitExtras = (format: Format) => void;
		/** Returns the parameters of the fields that apply. */
		type ReadExtras = () => Extras;
		/**
		 * Names the images of a download by digest. The digest of an index needs the platform, because the default of the
		 * service can change.
		 */
		type ExactDownload = (found: Image[], download: Omit<Download, 'images'>) => Download;
		/** The path and query of a download, without what the server takes for granted. */
		type DownloadUrl = (download: Download) => string;
		/**
		 * Returns commands by tool, which download a file and load it. Each resumes an interrupted download, and accepts a
		 * finished one. A URL by digest guarantees that both are of one version.
		 */
		type FetchCommands = (url: string, file: string, format: Format) => Record<string, string>;
		/** Returns commands that compare files with checksums, by the elements that show them. The lines are `HASH  FILE`. */
		type CheckCommands = (sums: string[]) => Record<'linux' | 'macos' | 'powershell', string>;
		/**
		 * Returns commands by tool that pull images through the registry API. The result is empty if the registry of an
		 * image has a port, because a repository name cannot contain one.
		 *
		 * @param host the host of this service, with its port
		 * @param platform empty for the default
		 */
		type PullCommands = (host: string, names: string[], platform: string) => Record<string, string>;
		/** Returns the commands that read a downloaded file, one in each line. */
		type LoadCommands = (file: string, format: Format, images: string[]) => string;
		/** Returns commands by tool; those for one image only if the file has one. */
		type LoadersOf = (file: string, format: Format, images: string[]) => Record<string, string>;

		/** One option of the list. */
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
		/** Finds completions of a text: tags after a colon, repositories before it. */
		type Find = (
			text: string,
			signal: AbortSignal,
			how: { search: boolean; fill(text: string): void; show(options: Option[], active: number): void },
		) => Promise<Option[]>;

		/** The response for an image, or its problem. */
		type Asked = PromiseSettledResult<Image>;
		/**
		 * Looks up the images in the field, and shows them. `put` adds an address to the history or replaces the last one;
		 * `moves` says whether the focus moves to the download. `several` are the platforms of a pasted text.
		 */
		type LookUp = (how?: {
			put?: 'pushState' | 'replaceState';
			moves?: boolean;
			several?: string[] | undefined;
		}) => Promise<void>;
		/** Shows images by their requested names. @throws Error with the problem as its cause */
		type Show = (
			images: string[],
			asked: Asked[],
			signal: AbortSignal,
			put: 'pushState' | 'replaceState',
			several: string[] | undefined,
		) => Promise<void>;
		/** A row for one of several images: its size, or its problem with alternative tags. */
		type RowOf = (images: string[], at: number, asked: Asked) => HTMLElement;
		/** Shows an error in place of the result, or above the result if only a part of it failed. */
		type Fail = (error: unknown, again?: () => void) => void;

		/** Opens a candidate, or asks for its tag. */
		type ChooseCandidate = (name: string) => void;
		/** Lets the visitor choose one of the images that a text may mean. Returns the question. */
		type ShowCandidates = (candidates: string[], choose: ChooseCandidate) => string;
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
		 * Performs a task for a download, until the signal reports that another one is shown.
		 *
		 * @throws Error with the problem as its cause
		 */
		type Task = (url: string, signal: AbortSignal, say: (text: string) => void) => Promise<void>;
		type Run = (task: Task, url: string) => void;
		/**
		 * Runs the task of a module that is loaded on demand. If a newer service no longer has the module, opens the link
		 * instead.
		 */
		type Load = (module: Promise<{ task: Task }>, url: string) => void;

		/** Creates a button that does not submit the form. */
		type MakeButton = (text: string, onclick: () => void) => HTMLButtonElement;
		interface Elements {
			image: HTMLInputElement;
			platform: HTMLSelectElement;
			format: Omit<HTMLSelectElement, 'value'> & { get value(): Format; set value(name: string) };
			download: HTMLAnchorElement;
			metalink: HTMLAnchorElement;
			sumLink: HTMLAnchorElement;
			bar: HTMLProgressElement;
			card: HTMLTemplateElement;
			form: HTMLFormElement;
			details: HTMLDetailsElement;
			inside: HTMLDetailsElement;
			/** Absent if the service accepts no credentials. */
			private: HTMLDetailsElement | null;
			data: HTMLTemplateElement;
		}
		/** Returns an element that the page is known to have. */
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
		/** Offers the platforms that all images have. */
		type FillPlatforms = (select: HTMLElement, images: Image[]) => void;
		type PartCommands = (url: string, files: string[]) => Record<string, string>;
		type ShowParts = (url: string, files: string[]) => void;
		/** Shows lines to copy, for the last selected tool. `files` are the parts of the file, or the file alone. */
		type ShowCommands = (url: string, files: string[], format: Format, pulls: Record<string, string>) => void;
	}
}
