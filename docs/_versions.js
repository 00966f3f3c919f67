// The menu of versions in the sidebar, and a notice on pages of versions other than the latest.
// _versions.py writes `site` in front of it: latest, versions (newest first), pages of each version.
(() => {
  const place = document.querySelector(".versions");
  const { version, page } = place.dataset;

  const link = (name, text) => {
    const folder = name === site.latest ? "latest" : name;
    const target = site.pages[name].includes(page) ? page : "index.html";
    const anchor = document.createElement("a");
    anchor.href = `${document.documentElement.dataset.content_root}../${folder}/${target}`;
    anchor.textContent = text;
    return anchor;
  };

  const menu = document.createElement("details");
  menu.append(document.createElement("summary"), document.createElement("ul"));
  menu.firstChild.textContent = `Version ${version}`;
  for (const name of site.versions) {
    const item = document.createElement("li");
    item.append(link(name, name === site.latest ? `${name} (latest)` : name));
    if (name === version) item.firstChild.ariaCurrent = "true";
    menu.lastChild.append(item);
  }
  place.append(menu);

  if (version !== site.latest) {
    const isOlder = site.versions.indexOf(version) > site.versions.indexOf(site.latest);
    const notice = document.createElement("p");
    notice.className = "version-notice";
    notice.append(
      `This page is about version ${version}, `,
      isOlder ? "which is not the newest. See this page for " : "which is not released yet. See this page for ",
      link(site.latest, `${site.latest}, the latest release`),
      ".",
    );
    document.querySelector("article").before(notice);
  }
})();
