-- Wireshark dissector of the synhop TCP option, version 1 (option-spec/SPEC.md section 4).
--
-- It is a post-dissector, not an entry in the table `tcp.option`: such an entry would take kinds
-- 253 and 254 away from Wireshark's own dissector, which shows the other experiments that share
-- them (TCP Fast Open's ExID 0xF989, for one). So Wireshark shows every option as it always does,
-- and this script reads the TCP header's octets again and adds a tree of its own.
--
-- Written for Wireshark 3.6 to 4.x, which means Lua 5.1 to 5.4: no bit operators, no integer
-- division, no `goto`, no `bit` library.

local synhop = Proto("synhop", "synhop TCP option")

-- Preferences --------------------------------------------------------------------------------

local BOTH = 0
synhop.prefs.kind = Pref.enum(
    "Option kind",
    BOTH,
    "The experimental option kind to look at. A node looks at the one it is configured for.",
    { { 1, "both", BOTH }, { 2, "253", 253 }, { 3, "254", 254 } },
    false
)

-- Fields -------------------------------------------------------------------------------------

local KIND_NAMES = { [253] = "RFC 3692 experiment 1", [254] = "RFC 3692 experiment 2" }
local FLOW_NAMES = { [0xE5F4] = "IPv4 flow", [0xE5F6] = "IPv6 flow" }

local fields = {
    kind = ProtoField.uint8("synhop.kind", "Kind", base.DEC, KIND_NAMES),
    len = ProtoField.uint8("synhop.len", "Length", base.DEC),
    exid = ProtoField.uint16("synhop.exid", "Experiment identifier", base.HEX, FLOW_NAMES),
    form = ProtoField.string("synhop.form", "Form"),
    src = ProtoField.ipv4("synhop.src", "Source (claimed)"),
    dst = ProtoField.ipv4("synhop.dst", "Destination"),
    src6 = ProtoField.ipv6("synhop.src6", "Source (claimed)"),
    dst6 = ProtoField.ipv6("synhop.dst6", "Destination"),
    sport = ProtoField.uint16("synhop.sport", "Source port (claimed)", base.DEC),
    dport = ProtoField.uint16("synhop.dport", "Destination port", base.DEC),
    cookie = ProtoField.bytes("synhop.cookie", "Cookie", base.NONE),
    hops_left = ProtoField.uint8("synhop.hops_left", "Hops left", base.DEC),
    flags = ProtoField.uint8("synhop.flags", "Flags", base.HEX),
    reply = ProtoField.bool("synhop.reply", "Reply of a node"),
    body = ProtoField.bytes("synhop.body", "Contents", base.NONE),
    error = ProtoField.string("synhop.error", "Refused as"),
}
synhop.fields = fields

local experts = {
    malformed = ProtoExpert.new("synhop.malformed", "synhop option refused",
        expert.group.MALFORMED, expert.severity.ERROR),
    hops_exhausted = ProtoExpert.new("synhop.hops_exhausted", "No hop left: no node forwards this",
        expert.group.PROTOCOL, expert.severity.WARN),
    flags_set = ProtoExpert.new("synhop.flags_set", "Flags are sent as 0 and ignored on receipt",
        expert.group.PROTOCOL, expert.severity.NOTE),
    cut_short = ProtoExpert.new("synhop.cut_short", "The capture does not hold the whole option",
        expert.group.UNDECODED, expert.severity.NOTE),
}
synhop.experts = experts

-- Every TCP header of a frame: one, or more in tunnels and in ICMP errors that quote a segment.
local tcp_headers = Field.new("tcp")

-- The forms (SPEC sections 4.2 and 4.3) ------------------------------------------------------

local WIDTH_OCTETS = {
    src = 4, dst = 4, src6 = 16, dst6 = 16, sport = 2, dport = 2,
    cookie = 4, hops_left = 1, flags = 1,
}

-- By ExID and length octet: the name of the form, and its fields behind the ExID.
local SYN_FORMS = {
    [0xE5F4] = {
        [10] = { name = "v4-withheld", "dst", "dport" },
        [14] = { name = "v4-withheld", "dst", "dport", "cookie" },
        [16] = { name = "v4", "src", "dst", "sport", "dport" },
        [18] = { name = "v4", "src", "dst", "sport", "dport", "hops_left", "flags" },
        [20] = { name = "v4", "src", "dst", "sport", "dport", "cookie" },
    },
    [0xE5F6] = {
        [20] = { name = "v6-address", "dst6" },
        [22] = { name = "v6", "dst6", "dport" },
        [24] = { name = "v6", "dst6", "dport", "hops_left", "flags" },
        [26] = { name = "v6", "dst6", "dport", "cookie" },
        [40] = { name = "v6-tuple", "src6", "dst6", "sport", "dport" },
    },
}
local REPLY = {
    [4] = { name = "understood" },
    [8] = { name = "understood", "cookie" },
}
local REPLY_FORMS = { [0xE5F4] = REPLY, [0xE5F6] = REPLY }

-- The forms that a segment may carry, and those that it carries by mistake: these are shown too.
local FORMS_OF_SEGMENT = {
    ["syn"] = { legal = SYN_FORMS, stray = REPLY_FORMS },
    ["syn-ack"] = { legal = REPLY_FORMS, stray = SYN_FORMS },
    ["other"] = { legal = SYN_FORMS, stray = REPLY_FORMS },
}

-- What each refusal means (SPEC section 4.4), and the field that it hangs on.
local REFUSALS = {
    ["truncated"] = { "the option list ends inside an option" },
    ["bad-list-length"] = { "the option list holds an option of a length below 2" },
    ["duplicate"] = { "the segment carries the option more than once" },
    ["wrong-segment"] = { "the segment is neither SYN nor SYN-ACK" },
    ["bad-length"] = { "no form has this length here", "len" },
    ["port-zero"] = { "destination port 0", "dport" },
    ["source-port-zero"] = { "source port 0", "sport" },
    ["unspecified"] = { "unspecified destination", "destination" },
    ["multicast"] = { "multicast destination", "destination" },
    ["broadcast"] = { "broadcast destination", "destination" },
}

-- Reading ------------------------------------------------------------------------------------

local FIXED_HEADER_OCTETS = 20
local OPTION_END, OPTION_NOP = 0, 1

--- The octet at `offset` of a TCP header; nil behind its end.
local function octet(segment, offset)
    if offset >= segment.end_offset then return nil end
    return string.byte(segment.octets, offset + 1)
end

--- What the dissector needs to know of a TCP header; nil if it has no options.
local function segment_of(range)
    if range == nil or range:len() < FIXED_HEADER_OCTETS then return nil end
    -- Most frames end here, and a string is the cheapest way to look at many octets.
    local octets = range:raw()
    local header_octets = math.floor(string.byte(octets, 13) / 16) * 4
    if header_octets <= FIXED_HEADER_OCTETS then return nil end
    local flags = string.byte(octets, 14)
    local is_syn = math.floor(flags / 0x02) % 2 == 1
    local is_ack = math.floor(flags / 0x10) % 2 == 1
    -- SPEC section 2: beside FIN (0x01) or RST (0x04) a SYN opens nothing.
    local ends = flags % 2 == 1 or math.floor(flags / 0x04) % 2 == 1
    local name = "other"
    if is_syn and not ends then name = is_ack and "syn-ack" or "syn" end
    return {
        range = range,
        octets = octets,
        name = name,
        end_offset = math.min(header_octets, range:len()),
        -- A capture with a snapshot length, or an ICMP error, may hold less than the header.
        is_whole = header_octets <= range:len(),
    }
end

local function is_wanted_kind(kind)
    if synhop.prefs.kind == BOTH then return kind == 253 or kind == 254 end
    return kind == synhop.prefs.kind
end

--- The ExID at `offset`, if it is one of ours.
local function exid_at(segment, offset)
    local high, low = octet(segment, offset), octet(segment, offset + 1)
    if high == nil or low == nil then return nil end
    local exid = high * 256 + low
    return FLOW_NAMES[exid] and exid or nil
end

--- Whether the broken option at `offset`, as far as it is there, may be ours.
local function may_be_ours(segment, offset)
    local high, low = octet(segment, offset + 2), octet(segment, offset + 3)
    return is_wanted_kind(octet(segment, offset))
        and (high == nil or high == 0xE5)
        and (low == nil or low == 0xF4 or low == 0xF6)
end

--- Where the list is broken, if that concerns us: others' broken options are Wireshark's to show.
--- Ours are what breaks the list, and what lies behind the break, where no receiver finds it.
local function break_at(segment, offset, reason)
    local broken = { offset = offset, reason = reason, kind = octet(segment, offset) }
    broken.is_ours = may_be_ours(segment, offset)
    broken.hides_ours = false
    for behind = offset + 1, segment.end_offset - 4 do
        if is_wanted_kind(octet(segment, behind)) and exid_at(segment, behind + 2) then
            broken.hides_ours = true
            broken.hidden_kind = octet(segment, behind)
            break
        end
    end
    return broken
end

--- Walks the option list. Returns our options in their order, and where the list is broken.
local function read_list(segment)
    local options = {}
    local offset = FIXED_HEADER_OCTETS
    while offset < segment.end_offset do
        local kind = octet(segment, offset)
        if kind == OPTION_END then
            break
        elseif kind == OPTION_NOP then
            offset = offset + 1
        else
            local len = octet(segment, offset + 1)
            if len == nil then return options, break_at(segment, offset, "truncated") end
            if len < 2 then return options, break_at(segment, offset, "bad-list-length") end
            if offset + len > segment.end_offset then
                return options, break_at(segment, offset, "truncated")
            end
            local exid = len >= 4 and is_wanted_kind(kind) and exid_at(segment, offset + 2)
            if exid then
                options[#options + 1] = { offset = offset, kind = kind, len = len, exid = exid }
            end
            offset = offset + len
        end
    end
    return options, nil
end

--- Adds to `option` its form and where each of its fields lies.
local function locate_fields(segment, option)
    local forms = FORMS_OF_SEGMENT[segment.name]
    option.form = forms.legal[option.exid][option.len]
    option.is_stray = option.form == nil
    if option.is_stray then option.form = forms.stray[option.exid][option.len] end
    option.at = {}
    local offset = option.offset + 4
    for _, name in ipairs(option.form or {}) do
        option.at[name] = segment.range:range(offset, WIDTH_OCTETS[name])
        offset = offset + WIDTH_OCTETS[name]
    end
end

-- Judging, as the codec does and in its order ------------------------------------------------

local function judge_ipv4(range, from)
    local a, b, c, d = string.byte(range:raw(), from + 1, from + 4)
    if a + b + c + d == 0 then return "unspecified" end
    if a >= 224 and a <= 239 then return "multicast" end
    if a + b + c + d == 4 * 255 then return "broadcast" end
    return nil
end

local function judge_ipv6(range)
    local hex = string.lower(range:bytes():tohex())
    if hex == string.rep("0", 32) then return "unspecified" end
    if string.sub(hex, 1, 24) == string.rep("0", 20) .. "ffff" then return judge_ipv4(range, 12) end
    if string.sub(hex, 1, 2) == "ff" then return "multicast" end
    return nil
end

--- Why the contents of `option` are refused; nil if they are not.
local function judge_contents(option)
    if option.form == nil or option.is_stray then return "bad-length" end
    local at = option.at
    if at.dport and at.dport:uint() == 0 then return "port-zero" end
    local refusal = at.dst and judge_ipv4(at.dst, 0) or at.dst6 and judge_ipv6(at.dst6)
    if refusal then return refusal end
    if at.sport and at.sport:uint() == 0 then return "source-port-zero" end
    return nil
end

--- Why a receiver that looks at the kind of `options` refuses them; nil if it does not.
local function judge(segment, options, broken)
    if #options > 1 then return "duplicate" end
    if broken then return broken.reason end
    if #options == 0 then return nil end
    if segment.name == "other" then return "wrong-segment" end
    return judge_contents(options[1])
end

-- Showing ------------------------------------------------------------------------------------

--- `address:port`, with the brackets of IPv6.
local function endpoint(ipv4, ipv6, port)
    if ipv4 then return string.format("%s:%d", tostring(ipv4:ipv4()), port) end
    return string.format("[%s]:%d", tostring(ipv6:ipv6()), port)
end

local function destination_port(segment, option)
    return option.at.dport or segment.range:range(2, 2)
end

--- The option in one line.
local function summary_of(segment, option)
    local at = option.at
    local words = {}
    if option.form == nil then
        words[1] = string.format("%s, length %d", FLOW_NAMES[option.exid], option.len)
    elseif option.form.name == "understood" then
        words[1] = "understood"
    else
        local to = endpoint(at.dst, at.dst6, destination_port(segment, option):uint())
        local from = at.sport and endpoint(at.src, at.src6, at.sport:uint()) .. " -> " or "to "
        words[1] = from .. to
    end
    if at.hops_left then words[#words + 1] = string.format("hops=%d", at.hops_left:uint()) end
    -- The value is in the tree: in a list of packets it would only be noise.
    if at.cookie then words[#words + 1] = "cookie" end
    return table.concat(words, " ")
end

--- Kind, length and ExID, as far as the segment holds them.
local function show_head(tree, segment, offset)
    local range, items = segment.range, {}
    items.kind = tree:add(fields.kind, range:range(offset, 1))
    if offset + 2 <= segment.end_offset then
        items.len = tree:add(fields.len, range:range(offset + 1, 1))
    end
    if offset + 4 <= segment.end_offset then
        items.exid = tree:add(fields.exid, range:range(offset + 2, 2))
    end
    return items
end

local function show_contents(tree, segment, option, items)
    local at = option.at
    if option.form == nil then
        if option.len > 4 then
            tree:add(fields.body, segment.range:range(option.offset + 4, option.len - 4))
        end
        return
    end
    -- The length tells the form, so that is what is marked among the octets.
    tree:add(fields.form, segment.range:range(option.offset + 1, 1), option.form.name)
        :set_generated()
    for _, name in ipairs(option.form) do
        items[name] = tree:add(fields[name], at[name])
    end
    items.destination = items.dst or items.dst6
    if option.form.name == "v6-address" then
        -- No room for it in the option: the port is that of the segment itself.
        tree:add(fields.dport, destination_port(segment, option)):set_generated()
    end
    if at.hops_left and at.hops_left:uint() == 0 then
        items.hops_left:add_proto_expert_info(experts.hops_exhausted)
    end
    if at.flags and at.flags:uint() ~= 0 then
        items.flags:add_proto_expert_info(experts.flags_set)
    end
end

--- What a person who looks at the refused option wants to know beyond the reason's name.
local function explain(segment, option, reason)
    local text = REFUSALS[reason][1]
    if reason == "bad-length" and option.is_stray and option.form then
        text = segment.name == "syn" and "the reply of a SYN-ACK, in a SYN"
            or "a SYN's form in a SYN-ACK: mirrored, not a node's reply"
    end
    return string.format("Refused as %s: %s", reason, text)
end

local function show_refusal(tree, items, segment, option, reason)
    tree:append_text(string.format(" [refused: %s]", reason))
    tree:add(fields.error, reason):set_generated()
    local item = items[REFUSALS[reason][2]] or tree
    item:add_proto_expert_info(experts.malformed, explain(segment, option, reason))
end

--- One framed option. `reason` is why the receiver refuses the segment; `is_culprit`: this option
--- is where to say so.
local function show_option(root, segment, option, reason, is_culprit)
    local tree = root:add(synhop, segment.range:range(option.offset, option.len))
    tree:append_text(": " .. summary_of(segment, option))
    local items = show_head(tree, segment, option.offset)
    show_contents(tree, segment, option, items)
    if reason and is_culprit then
        show_refusal(tree, items, segment, option, reason)
    elseif reason == nil and option.form.name == "understood" then
        tree:add(fields.reply, true):set_generated()
    end
end

--- The place where the list is broken, when no framed option can say so. Returns its tree and items.
local function show_break(root, segment, broken)
    local left = segment.end_offset - broken.offset
    local tree = root:add(synhop, segment.range:range(broken.offset, left))
    local items = {}
    if broken.is_ours then
        items = show_head(tree, segment, broken.offset)
        if left > 4 then tree:add(fields.body, segment.range:range(broken.offset + 4, left - 4)) end
    end
    return tree, items
end

--- Shows what a receiver that looks at the kind of `options` finds. Returns it in words.
local function show_kind(root, segment, options, broken)
    local is_cut_short = broken and broken.reason == "truncated" and not segment.is_whole
    if is_cut_short and #options == 0 then
        local tree = show_break(root, segment, broken)
        tree:append_text(" [not whole in the capture]")
        tree:add_proto_expert_info(experts.cut_short)
        return "not whole in the capture"
    end
    -- Where the capture ends, the list does not: what was found before is whole.
    local reason = judge(segment, options, not is_cut_short and broken or nil)
    if #options == 0 then
        local tree, items = show_break(root, segment, broken)
        show_refusal(tree, items, segment, {}, reason)
    end
    for index, option in ipairs(options) do
        -- Of two, the second is the one too many.
        show_option(root, segment, option, reason, reason ~= "duplicate" or index == 2)
    end
    return reason and "refused: " .. reason or summary_of(segment, options[1])
end

--- The options of `kind`, each with its fields located.
local function of_kind(segment, options, kind)
    local chosen = {}
    for _, option in ipairs(options) do
        if option.kind == kind then
            locate_fields(segment, option)
            chosen[#chosen + 1] = option
        end
    end
    return chosen
end

--- Shows the options of one TCP header. Returns whether there was anything of ours.
local function show_segment(root, pinfo, segment)
    local options, broken = read_list(segment)
    local found = false
    -- A receiver looks at one kind only, so the kinds are judged apart.
    for kind = 253, 254 do
        local chosen = of_kind(segment, options, kind)
        local concerns = broken
            and (broken.is_ours and broken.kind == kind
                or broken.hides_ours and broken.hidden_kind == kind)
        if #chosen > 0 or concerns then
            local words = show_kind(root, segment, chosen, broken)
            pinfo.cols.info:append(string.format(" [synhop %s]", words))
            found = true
        end
    end
    return found
end

function synhop.dissector(tvb, pinfo, root)
    local found = false
    for _, header in ipairs({ tcp_headers() }) do
        local segment = segment_of(header.range)
        if segment and show_segment(root, pinfo, segment) then found = true end
    end
    -- 0 keeps the name of this script out of the protocols of frames that it has no part in.
    return found and tvb:len() or 0
end

register_postdissector(synhop)
