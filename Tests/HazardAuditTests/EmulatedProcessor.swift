// SPDX-License-Identifier: MIT

// An x86-64 processor that runs an image's code wherever its memory may lie: what
// it looks for and does not find appears, the same at every run.

import CUnicorn
import Disassembly

struct EmulationError: Error, CustomStringConvertible {
    let description: String
}

@safe
final class EmulatedProcessor {
    private let engine: OpaquePointer
    private let memory: UnsafeMutablePointer<emulated_memory>
    private let image: UnsafeMutableBufferPointer<UInt8>

    /// - Parameters:
    ///   - bytes: whole pages.
    ///   - words: what all other memory holds: addresses of the image, counted from here.
    init(image bytes: [UInt8], at base: UInt64, words: UInt64) throws {
        var opened: OpaquePointer?
        guard unsafe uc_open(UC_ARCH_X86, UC_MODE_64, &opened) == UC_ERR_OK, let opened = unsafe opened else {
            throw EmulationError(description: "unicorn cannot be opened")
        }
        unsafe engine = opened
        unsafe image = .allocate(capacity: bytes.count)
        _ = unsafe image.initialize(from: bytes)
        unsafe memory = .allocate(capacity: 1)
        unsafe memory.initialize(
            to: emulated_memory(
                base: base, size: UInt64(bytes.count), image: UnsafePointer(image.baseAddress), words: words))
        guard unsafe emulated_memory_add(engine, memory) == UC_ERR_OK else {
            throw EmulationError(description: "unicorn cannot be told what to do about memory that is not there")
        }
    }

    deinit {
        unsafe uc_close(engine)
        unsafe memory.deallocate()
        unsafe image.deallocate()
    }

    subscript(register: GeneralRegister) -> UInt64 {
        get { read(Self.registers[register.number]) }
        set { write(newValue, to: Self.registers[register.number]) }
    }

    var flags: UInt64 {
        get { read(UC_X86_REG_EFLAGS) }
        set { write(newValue, to: UC_X86_REG_EFLAGS) }
    }

    /// Where it goes on.
    var place: UInt64 { read(UC_X86_REG_RIP) }

    /// Runs until a place is reached, or so many instructions are done.
    func run(from start: UInt64, until end: UInt64, count: Int = 0) throws {
        let error = unsafe uc_emu_start(engine, start, end, 0, count)
        guard error == UC_ERR_OK else {
            throw EmulationError(
                description: "at \(String(place, radix: 16)): \(unsafe String(cString: uc_strerror(error)))")
        }
    }

    /// What memory holds that is not what it held at first, by address.
    func written() throws -> [UInt64: UInt8] {
        var found: [UInt64: UInt8] = [:]
        var now = [UInt8](repeating: 0, count: 4096)
        var first = now
        for page in try pages() {
            guard unsafe uc_mem_read(engine, page, &now, 4096) == UC_ERR_OK else {
                throw EmulationError(description: "memory at \(String(page, radix: 16)) cannot be read")
            }
            unsafe emulated_page(memory, page, &first)
            if now == first { continue }
            for i in now.indices where now[i] != first[i] { found[page + UInt64(i)] = now[i] }
        }
        return found
    }

    /// Makes memory what it was at first.
    func forget() throws {
        for page in try pages() {
            guard unsafe uc_mem_unmap(engine, page, 4096) == UC_ERR_OK else {
                throw EmulationError(description: "memory at \(String(page, radix: 16)) does not go")
            }
        }
    }

    private func pages() throws -> [UInt64] {
        var regions: UnsafeMutablePointer<uc_mem_region>?
        var count: UInt32 = 0
        guard unsafe uc_mem_regions(engine, &regions, &count) == UC_ERR_OK else {
            throw EmulationError(description: "unicorn does not list its memory")
        }
        var found: [UInt64] = []
        for i in 0..<Int(count) {
            guard let region = unsafe regions?[i] else { break }
            found += stride(from: region.begin, through: region.end - 0xfff, by: 4096)
        }
        unsafe uc_free(regions)
        return found
    }

    private func read(_ register: uc_x86_reg) -> UInt64 {
        var value: UInt64 = 0
        _ = unsafe uc_reg_read(engine, Int32(register.rawValue), &value)
        return value
    }

    private func write(_ value: UInt64, to register: uc_x86_reg) {
        var value = value
        _ = unsafe uc_reg_write(engine, Int32(register.rawValue), &value)
    }

    /// By number, as instructions encode them.
    private static let registers = [
        UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX, UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI,
        UC_X86_REG_RDI, UC_X86_REG_R8, UC_X86_REG_R9, UC_X86_REG_R10, UC_X86_REG_R11, UC_X86_REG_R12, UC_X86_REG_R13,
        UC_X86_REG_R14, UC_X86_REG_R15,
    ]
}
