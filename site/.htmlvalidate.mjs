// What the built pages are held to: the HTML standard, and what it asks for accessibility.
export default {
  root: true,
  extends: ["html-validate:standard", "html-validate:a11y", "html-validate:document"],
  rules: {
    "require-sri": "off", // every file comes from the pages' own folder
    "wcag/h32": "off", // Enter sends a search; a button would be one way to meet WCAG 3.2.2, not a duty
  },
};
