// Tells require.js where the widgets' scripts are. Loaded right after it, on pages with widgets only.
(() => {
  const vendor = new URL("vendor/", document.currentScript.src).href;
  const manager = `${vendor}html-manager/dist/`;
  window.__jupyter_widgets_assets_path__ = manager; // its fonts
  requirejs.config({
    paths: {
      anywidget: `${vendor}anywidget`,
      "@jupyter-widgets/html-manager": `${vendor}html-manager`, // for the fonts too
    },
  });
  // The widget manager knows MathJax 2 only, and throws where it finds 3 on a page with equations.
  // This listener stands before the manager's own, which draws the widgets.
  addEventListener("load", () => {
    if (window.MathJax) window.MathJax.Hub ??= { Queue() {} };
  });
})();
