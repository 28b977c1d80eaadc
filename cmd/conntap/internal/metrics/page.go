// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"html/template"
	"io"
	"net/http"
)

// writeHealth answers /healthz: 200 and ok, or 503 and what does not work.
func writeHealth(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	text := "ok\n"
	if err != nil {
		text = err.Error() + "\n"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = io.WriteString(w, text) // who asked may have gone
}

var index = template.Must(template.New("index").Parse(`<!DOCTYPE html>
<html lang="en">
<title>conntap</title>
<h1>conntap {{.Version}}</h1>
<ul>
<li><a href="metrics">metrics</a>, for Prometheus
<li><a href="healthz">healthz</a>: {{with .Problem}}{{.}}{{else}}ok{{end}}
</ul>
`))

// writeIndex answers /: what there is.
func writeIndex(w http.ResponseWriter, version string, err error) {
	page := struct{ Version, Problem string }{Version: version}
	if err != nil {
		page.Problem = err.Error()
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = index.Execute(w, page) // who asked may have gone
}
