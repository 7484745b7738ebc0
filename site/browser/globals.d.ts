// What the page's scripts leave for one another, and packages without types.

/** A node of MathJax's tree, as far as equations.js uses it. */
interface MathNode {
  kind: string;
  isToken: boolean;
  isInferred: boolean;
  texClass: number | null;
  text?: string;
  setText?(text: string | undefined): void;
  childNodes: MathNode[];
  attributes: {
    get(name: string): any;
    set(name: string, value: string): void;
    isSet(name: string): boolean;
    unset(name: string): void;
  };
  isKind(kind: string): boolean;
  walkTree(visit: (node: MathNode) => void): void;
}

interface Window {
  widgetsShown: Promise<void>; // set by widgets.js
}
declare var MathJax: any;
declare var searchable: any[]; // set by search-index.js
declare module "mathjax";
