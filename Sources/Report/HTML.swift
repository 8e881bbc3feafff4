// SPDX-License-Identifier: MIT

// A document as one HTML page that needs nothing else: style and pictures are
// in it, no script is, and its own policy forbids the browser to fetch anything.
// Text becomes HTML through `escaped` only.

extension Document {
    /// The document as a page.
    ///
    /// - Throws: `PlotError` when gnuplot is not there or fails.
    public func html() async throws(PlotError) -> String {
        var pictures = 0
        var body = ""
        for (index, section) in sections.enumerated() {
            body += "<section id=\"s\(index + 1)\">\n<h2>\(Self.html(section.title))</h2>\n"
            body += try await Self.html(section.blocks, &pictures) + "</section>\n"
        }
        var lead = ""
        if let first {
            lead = "<section class=\"first\">\n<h2>\(Self.html(first.title))</h2>\n"
            lead += try await Self.html(first.blocks, &pictures) + "</section>\n"
        }
        let facts = facts.map {
            "<div><dt>\(Self.html($0.label))</dt><dd>\(Self.html($0.value))</dd></div>\n"
        }
        let contents = sections.enumerated().map { index, section in
            "<li><a href=\"#s\(index + 1)\">\(Self.html(section.title))</a></li>\n"
        }
        return """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <title>\(Self.html(title))</title>
            <style>
            \(Self.style)
            </style>
            </head>
            <body>
            <header>
            <h1>\(Self.html(title))</h1>
            <p class="subtitle">\(Self.html(subtitle))</p>
            \(lead)<dl class="facts">
            \(facts.joined())</dl>
            <nav><ol>
            \(contents.joined())</ol></nav>
            </header>
            <main>
            \(body)</main>
            </body>
            </html>

            """
    }

    private static func html(_ blocks: [Block], _ pictures: inout Int) async throws(PlotError) -> String {
        var out = ""
        for block in blocks {
            switch block {
            case .text(let text): out += "<p>\(html(text))</p>\n"
            case .list(let items): out += "<ul>\n" + items.map { "<li>\(html($0))</li>\n" }.joined() + "</ul>\n"
            case .table(let table): out += html(table)
            case .figure(let figure):
                var plots: [(title: String, svg: String)] = []
                for plot in figure.plots {
                    pictures += 1
                    plots.append((plot.title, try await Gnuplot.svg(plot, name: "p\(pictures)")))
                }
                out += html(plots, legend: legend(figure), caption: figure.caption, isSmall: figure.hasMarks)
            case .dots(let figure):
                out += html(
                    figure.maps.map { ($0.title, figure.svg($0)) }, legend: figure.htmlLegend, caption: figure.caption)
            case .intervals(let figure):
                out += html([(figure.title, figure.svg)], legend: "", caption: figure.caption)
            }
        }
        return out
    }

    private static func html(
        _ plots: [(title: String, svg: String)], legend: String, caption: String, isSmall: Bool = false
    ) -> String {
        var out = "<figure>\n\(legend)<div class=\"plots\(isSmall ? " small" : "")\">\n"
        for plot in plots { out += "<div class=\"plot\"><h3>\(html(plot.title))</h3>\n\(plot.svg)\n</div>\n" }
        return out + "</div>\n<figcaption>\(html(caption))</figcaption>\n</figure>\n"
    }

    /// Text that is text in an element and in an attribute.
    static func html(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "&": out += "&amp;"
            case "\"": out += "&quot;"
            case "'": out += "&#39;"
            default: out.unicodeScalars.append(scalar.properties.generalCategory == .control ? " " : scalar)
            }
        }
        return out
    }

    private static func html(_ table: Table) -> String {
        var out = "<div class=\"table\">\n<table>\n<caption>\(html(table.caption))</caption>\n<thead><tr>"
        for column in table.columns {
            out += "<th scope=\"col\"\(column.isNumeric ? " class=\"n\"" : "")>\(html(column.title))</th>"
        }
        out += "</tr></thead>\n<tbody>\n"
        for row in table.rows {
            switch row {
            case .heading(let title):
                out += "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"\(table.columns.count)\">"
                out += "\(html(title))</th></tr>\n"
            case .cells(let cells):
                out += "<tr>"
                for (index, cell) in cells.enumerated() {
                    let limits =
                        cell.limits.map {
                            "<span class=\"limits\($0.hasPrefix("±") ? "" : " below")\"> \(html($0))</span>"
                        } ?? ""
                    let range = cell.range.map { "<span class=\"range\">\(html($0))</span>" } ?? ""
                    let text = html(cell.text) + limits + range
                    let kind = table.columns[index].isNumeric ? " class=\"n\"" : ""
                    out += index == 0 ? "<th scope=\"row\"\(kind)>\(text)</th>" : "<td\(kind)>\(text)</td>"
                }
                out += "</tr>\n"
            }
        }
        return out + "</tbody>\n</table>\n</div>\n"
    }

    private static func legend(_ figure: Figure) -> String {
        let marks = [
            "<circle cx=\"15\" cy=\"6\" r=\"4\"/>", "<rect x=\"11.5\" y=\"2.5\" width=\"7\" height=\"7\"/>",
            "<path d=\"M15 1.5 19.5 9.5h-9z\"/>", "<path d=\"M15 10.5 19.5 2.5h-9z\"/>",
            "<path d=\"M15 1 20 6 15 11 10 6z\"/>", "<path d=\"M15 1.5 19.5 5 17.8 10.2h-5.6L10.5 5z\"/>",
            "<circle cx=\"15\" cy=\"6\" r=\"3.5\" fill=\"none\"/>",
            "<rect x=\"11.5\" y=\"2.5\" width=\"7\" height=\"7\" fill=\"none\"/>",
        ]
        let items = figure.legend.enumerated().map { index, name in
            let colour = "var(--s\(index % Plot.mostSeries + 1))"
            let dashes = !figure.hasMarks && index >= 4 ? " stroke-dasharray=\"5 3\"" : ""
            let mark = figure.hasMarks ? marks[index % marks.count] : ""
            return "<li><svg width=\"30\" height=\"12\" viewBox=\"0 0 30 12\" aria-hidden=\"true\" "
                + "stroke=\"\(colour)\" fill=\"\(colour)\" stroke-width=\"2\"><path d=\"M0 6h30\"\(dashes)/>"
                + "\(mark)</svg>\(html(name))</li>\n"
        }
        return "<ul class=\"legend\">\n" + items.joined() + "</ul>\n"
    }

    private static let style = """
        :root {
          --page: #fbfbf9; --card: #ffffff; --ink: #1b1b1a; --soft: #5c5b57; --line: #c9c7c0; --grid: #e5e3dd;
          --accent: #1f5fa8;
          --s1: #2a78d6; --s2: #d9601f; --s3: #14906a; --s4: #b98100;
          --s5: #c2508a; --s6: #4a3aa7; --s7: #7a6a53; --s8: #cf3a39;
        }
        @media screen and (prefers-color-scheme: dark) {
          :root {
            --page: #171716; --card: #20201e; --ink: #ecebe6; --soft: #a9a7a0; --line: #4b4a46; --grid: #32312e;
            --accent: #7db4ee;
            --s1: #5a9df0; --s2: #ec8150; --s3: #3bb98e; --s4: #d6a01e;
            --s5: #e080b0; --s6: #a49bf0; --s7: #b8a68a; --s8: #ee7573;
          }
        }
        * { box-sizing: border-box; }
        html { scroll-behavior: smooth; }
        body {
          margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 72rem; background: var(--page); color: var(--ink);
          font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
          -webkit-text-size-adjust: 100%;
        }
        h1 {
          margin: 0; font-size: 2rem; line-height: 1.2; letter-spacing: -0.01em; font-weight: 650; text-wrap: balance;
        }
        h2 { margin: 3rem 0 0.75rem; font-size: 1.3rem; line-height: 1.3; font-weight: 650; }
        h3 { margin: 0 0 0.25rem; font-size: 0.9rem; font-weight: 600; }
        p, li { max-width: 46rem; overflow-wrap: break-word; }
        p { margin: 0.6rem 0; }
        ul { padding-left: 1.2rem; }
        a { color: var(--accent); }
        .subtitle { margin: 0.4rem 0 1.75rem; color: var(--soft); }
        .facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 0.9rem; margin: 0; }
        .facts div {
          display: flex; flex-direction: column-reverse; justify-content: flex-end; padding: 0.95rem 1.1rem;
          background: var(--card); border: 1px solid var(--grid); border-radius: 8px;
        }
        .facts dd { margin: 0; font-size: 1.45rem; font-weight: 650; line-height: 1.25; letter-spacing: -0.01em; }
        .facts dt { margin-top: 0.3rem; font-size: 0.85rem; line-height: 1.4; color: var(--soft); }
        .first {
          margin: 0 0 1.5rem; padding: 0.9rem 1.1rem 0.5rem; background: var(--card);
          border: 1px solid var(--grid); border-left: 4px solid var(--s8); border-radius: 8px;
        }
        .first h2 { margin: 0; }
        .first li, .first p { max-width: 60rem; }
        nav ol {
          display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; margin: 1.75rem 0 0; padding: 0; list-style: none;
          font-size: 0.9rem;
        }
        nav a { text-decoration: none; }
        nav a:hover { text-decoration: underline; }
        .table { overflow-x: auto; margin: 1.1rem 0 1.6rem; }
        table { min-width: min(100%, 36rem); border-collapse: collapse; font-size: 0.86rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
        caption { padding-bottom: 0.5rem; text-align: left; color: var(--soft); max-width: 56rem; }
        th, td { padding: 0.35rem 0.9rem 0.35rem 0; text-align: left; vertical-align: top; font-weight: 400; }
        tbody th { min-width: 8rem; }
        .n { text-align: right; padding-left: 0.4rem; white-space: nowrap; }
        thead th { border-bottom: 1px solid var(--line); color: var(--soft); font-weight: 600; vertical-align: bottom; }
        thead th.n { white-space: normal; }
        tbody tr + tr > * { border-top: 1px solid var(--grid); }
        tr.group th { padding-top: 1rem; font-weight: 650; }
        .limits { color: var(--soft); }
        .below, .range { display: block; color: var(--soft); font-size: 0.78rem; }
        figure { margin: 1.4rem 0 1.8rem; }
        figcaption { margin-top: 0.5rem; max-width: 56rem; font-size: 0.86rem; line-height: 1.45; color: var(--soft); }
        .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1rem; }
        .plots.small { grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
        .plot {
          padding: 0.9rem 1rem 0.5rem; background: var(--card); border: 1px solid var(--grid); border-radius: 8px;
        }
        .plot svg { display: block; width: 100%; height: auto; font-size: 11px; }
        .plot svg text, .plot svg tspan { font-family: inherit; }
        .legend {
          display: flex; flex-wrap: wrap; gap: 0.3rem 1.3rem; margin: 0 0 0.7rem; padding: 0; list-style: none;
          font-size: 0.86rem;
        }
        .legend svg { margin-right: 0.45rem; vertical-align: -0.05em; }
        @page { size: A4; margin: 15mm 14mm; }
        @media print {
          :root { --page: #ffffff; --card: #ffffff; }
          html { font-size: 11px; }
          body { max-width: none; padding: 0; font-size: 10.5px; }
          nav { display: none; }
          h2, h3, caption, thead, tr.group { break-after: avoid; }
          tr, caption, .plot, .facts div, .first, li { break-inside: avoid; }
          thead { display: table-header-group; }
          .table { overflow: visible; }
          .facts { grid-template-columns: repeat(auto-fit, minmax(32mm, 1fr)); }
          .plots, .plots.small { grid-template-columns: 1fr 1fr; }
          a { color: inherit; text-decoration: none; }
        }
        """
}
