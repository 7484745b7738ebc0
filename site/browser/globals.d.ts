// What the page's scripts leave for one another, and packages without types.

/** A node of MathJax's tree, as far as equations.js uses it. */
interface MathNode {
  kind: string;
  isToken: boolean;
  isInferred: boolean;
  texClass: number | null;
  text?: string;
  childNodes: MathNode[];
  attributes: { get(name: string): any; set(name: string, value: string): void; isSet(name: string): boolean };
  isKind(kind: string): boolean;
  walkTree(visit: (node: MathNode) => void): void;
}

interface Window {
  MathJax: any;
  widgetsShown: Promise<void>; // set by widgets.js
}
declare const MathJax: any;
declare var defineAnywidget: (names: string[], factory: (base: object) => object) => void;
declare module "anywidget";
