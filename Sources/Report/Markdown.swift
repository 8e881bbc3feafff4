// SPDX-License-Identifier: MIT

// A document as Markdown, with the tables of GitHub's dialect. Plots are named only.

extension Document {
    /// The document as Markdown.
    public var markdown: String {
        var out = "# \(Self.escaped(title))\n\n\(Self.escaped(subtitle))\n"
        if let first { out += Self.markdown(first) }
        for fact in facts { out += "\n- **\(Self.escaped(fact.value))** \(Self.escaped(fact.label))" }
        return out + "\n" + sections.map(Self.markdown).joined()
    }

    private static func markdown(_ section: Section) -> String {
        var out = "\n## \(escaped(section.title))\n"
        for block in section.blocks {
            switch block {
            case .text(let text): out += "\n\(escaped(text))\n"
            case .list(let items): out += "\n" + items.map { "- \(escaped($0))\n" }.joined()
            case .table(let table): out += "\n" + markdown(table)
            case .figure(let figure): out += markdown(caption: figure.caption)
            case .dots(let figure): out += markdown(caption: figure.caption)
            case .intervals(let figure): out += markdown(caption: figure.caption)
            }
        }
        return out
    }

    private static func markdown(caption: String) -> String { "\n*\(escaped(caption)) (drawn in the HTML page)*\n" }

    private static func markdown(_ table: Table) -> String {
        func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }
        var out = escaped(table.caption) + "\n\n"
        out += line(table.columns.map { escaped($0.title) })
        out += "|" + table.columns.map { $0.isNumeric ? "---:|" : "---|" }.joined() + "\n"
        for row in table.rows {
            switch row {
            case .heading(let title):
                out += line(["**\(escaped(title))**"] + table.columns.dropFirst().map { _ in "" })
            case .cells(let cells):
                out += line(
                    cells.map { cell in
                        let limits = cell.limits.map { " \($0)" } ?? ""
                        return escaped(cell.text + limits + (cell.range.map { " (\($0))" } ?? ""))
                    })
            }
        }
        return out
    }

    /// Text that means nothing to Markdown, and no HTML.
    static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\", "`", "*", "_", "[", "]", "#", "|", "~": out += "\\\(scalar)"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "&": out += "&amp;"
            default: out.unicodeScalars.append(scalar.properties.generalCategory == .control ? " " : scalar)
            }
        }
        return out
    }
}
