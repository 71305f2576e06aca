"use strict"
const $ = (what, where = document) => where.querySelector(what), all = (what, where = document) => [...where.querySelectorAll(what)]

document.fonts.ready.then(() => {                       // a formula that is still a little too wide is set smaller
  for (const e of all(".math.block")) if (e.scrollWidth > e.clientWidth) e.style.fontSize = `${Math.max(.6, .98*e.clientWidth/e.scrollWidth)}em`
})

$("#ui-theme").onclick = () => { localStorage.theme = document.documentElement.dataset.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark" }
$("#ui-menu").onclick = () => $("#ui-menu").ariaExpanded = document.body.classList.toggle("menu")
$("#ui-sidebar [aria-current]")?.scrollIntoView({ block: "nearest" })

const unfold = $("#ui-unfold")
function show(open) { all("details.source").forEach(d => d.open = open); unfold.textContent = open ? "Fold the code" : "Unfold the code"; unfold.ariaPressed = open }
if (unfold) {
  unfold.onclick = () => { localStorage.code = unfold.ariaPressed === "true" ? "folded" : ""; show(!localStorage.code) }
  if (localStorage.code) show(false)
}
function reveal() {                                    // a link may lead into something folded
  const there = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)))
  if (!there) return
  for (let d = there.closest("details"); d; d = d.parentElement.closest("details")) d.open = true
  there.scrollIntoView()
}
addEventListener("hashchange", reveal); reveal()

const links = new Map(all("aside a").map(a => [decodeURIComponent(a.hash.slice(1)), a]))
const watch = new IntersectionObserver(seen => seen.filter(s => s.isIntersecting).forEach(s => { links.forEach(a => a.className = ""); links.get(s.target.id).className = "seen" }), { rootMargin: "-60px 0px -75% 0px" })
links.forEach((a, id) => watch.observe(document.getElementById(id)))

const box = $("#ui-search"), field = $("input", box), list = $("ol", box)
let chosen = 0
const safe = s => s.replace(/[&<>"]/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c])
const marked = (s, words) => safe(s).replace(new RegExp(words.map(w => safe(w).replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|"), "gi"), "<mark>$&</mark>")
function results(asked) {
  const words = asked.toLowerCase().split(/\s+/).filter(Boolean), found = []
  if (!words.length) return []
  for (const [name, kind, url, module, about] of SEARCH.names) {
    const low = name.toLowerCase(), whole = words.join("")
    const score = low === whole ? 100 : low.startsWith(whole) ? 60 : words.every(w => low.includes(w)) ? 40 : 0
    if (score) found.push([score - low.length/50, url, name, `${kind} in so_attack.${module}${about ? ": " + about : ""}`])
  }
  for (const [url, page, heading, text] of SEARCH.texts) {
    const head = heading.toLowerCase(), body = text.toLowerCase()
    if (!words.every(w => head.includes(w) || body.includes(w))) continue
    const near = Math.max(0, body.indexOf(words.find(w => body.includes(w)) ?? "") - 50), at = near && text.indexOf(" ", near) + 1, end = text.indexOf(" ", at + 140)
    found.push([words.every(w => head.includes(w)) ? 50 : 10 + Math.min(9, body.split(words[0]).length), url, heading === page ? page : `${page} › ${heading}`, (at ? "… " : "") + (end < 0 ? text.slice(at) : text.slice(at, end) + " …")])
  }
  return found.sort((a, b) => b[0] - a[0]).slice(0, 25)
}
function choose(i) { const items = all("li", list); chosen = Math.max(0, Math.min(i, items.length - 1)); items.forEach((li, j) => li.className = j === chosen ? "chosen" : ""); items[chosen]?.scrollIntoView({ block: "nearest" }) }
field.oninput = () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean)
  list.innerHTML = results(field.value).map(([, url, head, text]) => `<li><a href="${url}">${marked(head, words)}<small>${marked(text, words)}</small></a></li>`).join("") || (words.length ? "<li><a>Nothing found</a></li>" : "")
  choose(0)
}
field.onkeydown = e => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[e.key]
  if (step) { e.preventDefault(); choose(chosen + step) }
  if (e.key === "Enter") $(".chosen a", list)?.click()
}
list.onclick = () => box.close()
box.onclick = e => { if (e.target === box) box.close() }
function ask() { box.showModal(); field.select() }
$("#ui-find").onclick = ask
addEventListener("keydown", e => { if (!box.open && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName) && (e.key === "/" || e.key === "k" && (e.ctrlKey || e.metaKey))) { e.preventDefault(); ask() } })
