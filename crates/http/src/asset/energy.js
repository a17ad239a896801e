// The energy page: whose hours they are is the reader's own affair, so an address without a time
// zone gets that of the browser.
const address = new URL(location.href);
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (!address.searchParams.has("tz") && zone && zone !== "UTC") {
  address.searchParams.set("tz", zone);
  location.replace(address);
}
