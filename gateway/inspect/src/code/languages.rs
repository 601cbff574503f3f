//! The words of programming languages, as data.
//!
//! A word counts as evidence for code and votes for its languages. Words that sentences hold as well
//! ([`EVERYDAY`]) count for little by themselves. Facts are from the languages' own references.

/// What a block in a language is reported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Code,
    Configuration,
}

/// A language and its words, separated by spaces.
pub(super) struct Language {
    pub(super) evidence: &'static str,
    pub(super) sort: Sort,
    /// Whether case does not matter to it.
    pub(super) any_case: bool,
    pub(super) words: &'static str,
}

const fn code(evidence: &'static str, words: &'static str) -> Language {
    Language {
        evidence,
        sort: Sort::Code,
        any_case: false,
        words,
    }
}

const fn any_case(evidence: &'static str, words: &'static str) -> Language {
    Language {
        any_case: true,
        ..code(evidence, words)
    }
}

const fn configuration(evidence: &'static str, words: &'static str) -> Language {
    Language {
        sort: Sort::Configuration,
        ..code(evidence, words)
    }
}

/// At most 64, as a set of them is a `u64`.
pub(super) const LANGUAGES: &[Language] = &[
    code(
        "language: C or C++",
        "#include #define #ifdef #ifndef #endif #pragma #if #else #elif #undef typedef struct enum union static extern inline \
         template typename namespace std unsigned signed const constexpr volatile void int char long short float double \
         bool auto sizeof nullptr NULL printf fprintf sprintf snprintf malloc calloc realloc free memcpy memset strlen strcmp \
         uint8_t uint16_t uint32_t uint64_t int8_t int16_t int32_t int64_t size_t ssize_t uintptr_t wchar_t virtual override \
         public private protected class operator friend using switch case default break continue return if else for while do \
         goto cout endl cin new delete throw try catch this argc argv main noexcept static_cast reinterpret_cast dynamic_cast \
         push_back emplace_back unique_ptr shared_ptr make_unique iostream stdio stdlib assert register errno",
    ),
    code(
        "language: CUDA",
        "__global__ __device__ __host__ __shared__ __syncthreads threadIdx blockIdx blockDim gridDim cudaMalloc cudaMemcpy \
         cudaFree cudaDeviceSynchronize cudaMemcpyHostToDevice cudaMemcpyDeviceToHost cudaError_t cudaStream_t cudaGetLastError \
         atomicAdd __restrict__ float4 dim3 half2 __half warpSize __shfl_down_sync",
    ),
    code(
        "language: C#",
        "using namespace class struct interface enum public private protected internal static readonly const void int string bool \
         double decimal object var new get set async await Task foreach in out ref params override virtual abstract sealed \
         partial return if else switch case break try catch finally throw nameof typeof linq Console WriteLine List IEnumerable \
         Dictionary null true false this base where delegate event lock yield is as HttpGet HttpPost ToString Guid DateTime \
         string.Format string.IsNullOrEmpty #region #endregion",
    ),
    code(
        "language: Java",
        "package import public private protected class interface enum extends implements static final abstract void int long \
         double float boolean char byte String Integer List ArrayList Map HashMap Override @Override @Autowired @Test @Deprecated \
         @Inject @Entity @Service @Component new return if else for while do switch case break continue try catch finally \
         throw throws instanceof this super null true false System println synchronized transient volatile Exception \
         Optional Stream getClass hashCode equals toString @SuppressWarnings @NotNull @Nullable",
    ),
    code(
        "language: Kotlin",
        "fun val var when data class object companion override suspend null it is in as if else for while return import package \
         println listOf mapOf mutableListOf mutableMapOf lateinit lazy sealed internal Unit String Int Boolean Long also let apply run \
         launch runBlocking init constructor typealias reified inline vararg @Composable",
    ),
    code(
        "language: Scala",
        "def val var object case class trait extends with override implicit given using match yield lazy sealed abstract \
         import package Option Some None Seq List Map Int String Unit Boolean Future println foreach flatMap map foldLeft for if else",
    ),
    code(
        "language: Go",
        "interface{} errors.New fmt.Errorf fmt.Println fmt.Printf fmt.Sprintf strings.Builder time.Duration os.Args testing.T t.Errorf t.Fatal t.Fatalf t.Run json.Marshal uint uint8 uint16 uint32 int8 int16 int32 float32 \
         complex128 uintptr nil any recover panic cap copy package import func defer chan struct interface map range go select var const type return if else for switch case nil \
         err string int bool byte rune error make append len fmt Println Printf Errorf Sprintf iota fallthrough goroutine \
         context.Context http.Handler sync.Mutex int64 uint64 float64 []byte",
    ),
    code(
        "language: Rust",
        "fn pub let mut impl trait enum struct mod use crate self Self match if else for while loop return unsafe async await move \
         ref where dyn as in Some None Ok Err Vec String Box Option Result u8 u16 u32 u64 usize i8 i16 i32 i64 isize f32 f64 str bool \
         unwrap expect clone iter collect println vec format assert_eq derive cfg #[derive #[test #[cfg",
    ),
    code(
        "language: Swift",
        "func let var guard struct class enum protocol extension import init self nil if else for in while switch case return \
         override private public fileprivate internal weak lazy throws throw try catch some @State @objc @IBOutlet @main String Int Bool \
         Double UIView UIViewController DispatchQueue print Foundation SwiftUI UIKit deinit inout mutating associatedtype",
    ),
    code(
        "language: Objective-C",
        "@interface @implementation @property @end @protocol @selector @synthesize #import NSString NSArray NSDictionary NSInteger \
         NSUInteger NSLog nonatomic strong alloc init nil self id BOOL YES NO CGFloat UIView @autoreleasepool",
    ),
    code(
        "language: Python",
        "def class import from as if elif else for in while try except finally raise return yield lambda with async await pass \
         break continue None True False self not and or is del global nonlocal assert print len range enumerate zip isinstance \
         __init__ __name__ __main__ __str__ __repr__ super kwargs args str int dict list tuple set open append np pd df torch \
         numpy pandas plt ValueError TypeError KeyError RuntimeError Exception @property @staticmethod @classmethod @dataclass @pytest \
         sorted getattr setattr hasattr",
    ),
    code(
        "language: JavaScript or TypeScript",
        "function const let var return if else for while do switch case break continue try catch finally throw new this class extends \
         export import default from async await yield typeof instanceof undefined null true false console document window require \
         module exports Promise JSON Object Array Math prototype addEventListener getElementById querySelector interface type \
         readonly string number boolean any never unknown implements declare keyof useState useEffect setTimeout forEach map filter \
         reduce parseInt innerHTML enum of jQuery",
    ),
    code(
        "language: PHP",
        "<?php echo function foreach as $this public private protected static class extends implements use namespace new return if \
         else elseif endif endforeach isset empty array require_once include_once require include null true false throw try catch \
         $_GET $_POST $_SESSION $_SERVER mysqli PDO __construct count strlen str_replace var_dump preg_match explode implode",
    ),
    code(
        "language: Ruby",
        "autoload attr define_method method_missing respond_to? instance_variable_get instance_eval class_eval alias_method private_class_method \
         each_with_index each_with_object inject freeze nil? empty? include? gsub block_given? __FILE__ __dir__ frozen_string_literal \
         def end class module require require_relative attr_accessor attr_reader attr_writer do if elsif else unless while until begin rescue \
         ensure yield puts nil true false self each map select return lambda proc initialize raise when case then include extend \
         describe it expect let before",
    ),
    code(
        "language: Perl",
        "use strict warnings my our sub foreach unless elsif shift push print die return if else while local package bless ref \
         scalar keys values defined qw eq ne lt gt chomp split join @_ @ARGV $_ $self %ENV STDERR STDIN open close",
    ),
    code(
        "language: Lua",
        "local function end then elseif else if for in do while repeat until return nil true false and or not pairs ipairs require \
         table.insert string.format print setmetatable self tostring",
    ),
    code(
        "language: R",
        "function library data.frame ggplot aes geom_point geom_line if else for in while return TRUE FALSE NULL NA lapply sapply \
         vapply mutate filter summarise group_by paste0 paste cat print c names nrow ncol read.csv lm summary stopifnot is.null \
         stop seq_along dplyr tidyverse matrix",
    ),
    code(
        "language: Julia",
        "elseif Union Nothing AbstractString AbstractVector AbstractMatrix AbstractFloat UInt8 UInt16 UInt32 UInt64 Int8 Int16 Int32 Int128 \
         Float32 Float16 Bool @inbounds @inline @noinline @simd @view @views @error @warn @info @debug @testset @test_throws @enum @eval \
         @generated @threads eltype isnothing isempty ndims axes eachindex similar collect findfirst pushfirst! popfirst! pop! append! \
         sort! fill! resize! deleteat! setindex! getindex copyto! mapreduce hcat vcat NamedTuple Symbol Ref baremodule \
         function end using import struct mutable abstract module begin let for in while if elseif else return nothing true false \
         println push! Float64 Int64 Vector Matrix Array where isa typeof @time @test @show @assert macro quote export Dict length zeros",
    ),
    code(
        "language: MATLAB",
        "function end clc clear close all figure plot hold on zeros ones linspace length size disp fprintf for while if elseif else switch \
         case otherwise return xlabel ylabel legend title subplot numel isempty mod find sum cellfun rand endfunction endif endfor \
         endwhile num2str strcmp nargin nargout error classdef properties methods reshape repmat",
    ),
    any_case(
        "language: Fortran",
        "program subroutine function end enddo endif do if then else elseif integer real logical character complex double precision \
         implicit none dimension allocatable allocate deallocate intent inout parameter module use contains call write read print \
         return stop continue goto common data format interface type kind select case where pure elemental endprogram",
    ),
    any_case(
        "language: COBOL",
        "identification division environment data procedure section working-storage linkage file-control program-id author pic picture \
         comp comp-3 value values move to perform varying until times end-perform end-call using declaratives end-if end-read end-evaluate evaluate when display accept \
         compute add subtract multiply divide giving stop run goback occurs initialize redefines filler thru fd select assign organization \
         input output open close read write rewrite exec end-exec copy string unstring inspect tallying replacing",
    ),
    code(
        "language: Haskell",
        "module where import qualified data newtype type class instance deriving let in if then else case of do return Maybe Just \
         Nothing Either Left Right String Int Integer Bool IO Show Eq Ord Monad Functor map filter foldr foldl putStrLn mapM_ otherwise \
         forall fmap pure",
    ),
    code(
        "language: OCaml or F#",
        "let rec in match with fun function type module struct sig end open of begin if then else mutable val ref Some None List.map \
         List.iter Printf.printf printfn failwith unit int string bool option raise try when functor exception and async seq namespace",
    ),
    code(
        "language: Elixir or Erlang",
        "defmodule def defp do end use alias import require fn case cond when with if else unless raise rescue nil true false \
         Enum.map IO.puts GenServer -module -export -spec -record receive after ok error @doc @moduledoc @spec defstruct spawn",
    ),
    code(
        "language: Dart",
        "import class extends with implements abstract final const late var void int double bool String List Map Future Stream async \
         await return if else for in while switch case new this super null required Widget BuildContext StatelessWidget \
         StatefulWidget setState @override build print factory",
    ),
    code(
        "language: Lisp or Clojure",
        "defun defn defmacro defvar setq let let* cond lambda progn car cdr cons ns fn def if when nil defparameter loop recur \
         define set! begin display map assoc println require",
    ),
    any_case(
        "language: Visual Basic",
        "sub function end dim as string integer long double boolean object private public const byval byref optional set let if then \
         else elseif endif for each next do loop while wend with select case exit call nothing true false msgbox imports module class \
         worksheets activesheet range cells thisworkbook redim vbcrlf #region #end property overridable readonly inherits overloads shared friend orelse andalso isnot",
    ),
    any_case(
        "language: Pascal or Ada",
        "program procedure function begin end var const type array of record integer boolean string real char uses unit interface \
         implementation if then else for to downto do while repeat until case with writeln readln nil package body is loop \
         exit when pragma elsif constant",
    ),
    any_case(
        "language: ABAP",
        "report data types begin endform form endloop loop at into endif endselect select endmethod method endclass perform write \
         tables parameters call function exporting importing exceptions sy-subrc append move-corresponding read table field-symbols \
         assigning",
    ),
    any_case(
        "language: SQL",
        "select full cross from where insert into values update set delete create table view index alter drop join inner left right outer on group \
         order by having union all distinct as and or not null primary key foreign references default varchar int integer bigint decimal \
         timestamp date limit offset case when then else end exists in like between count avg sum min max coalesce with grant constraint \
         unique asc desc over partition row_number cast",
    ),
    any_case(
        "language: PL/SQL or T-SQL",
        "declare begin end procedure function package body exception raise_application_error dbms_output put_line varchar2 number \
         pls_integer sysdate loop cursor fetch open close exit when others then if elsif return is as out in rowtype type trigger \
         nvarchar identity getdate exec execute nocount isnull rollback commit transaction tran begintran proc sp_executesql \
         bulk collect forall replace go",
    ),
    code(
        "language: shell",
        "#!/bin/bash #!/bin/sh #!/usr/bin/env echo if then else elif fi for do done while case esac in function local export set unset \
         source exit return grep awk sed curl wget sudo cd ls rm cp mv mkdir chmod chown tar xargs cat docker kubectl git apt-get yum \
         pip npm ssh scp printf read shift getopts trap eval find systemctl helm terraform make sort uniq cut tee nohup dirname",
    ),
    any_case(
        "language: PowerShell",
        "param function foreach if else elseif switch try catch finally throw return $_ $true $false $null $env -eq -ne -gt -lt -like \
         -match -and -or -not write-host write-output get-childitem get-content set-content new-object where-object foreach-object \
         select-object import-module get-process invoke-webrequest invoke-restmethod test-path join-path convertto-json cmdletbinding \
         out-file begin process end",
    ),
    any_case(
        "language: Batch",
        "findstr tasklist taskkill title cls ver mklink icacls attrib cacls reg sc net pushd errorlevel %errorlevel% %cd% %path% \
         @echo off setlocal enabledelayedexpansion endlocal set if exist not else goto call rem echo for in do exit errorlevel copy xcopy \
         robocopy del md rd pushd popd start pause nul defined cmd equ neq",
    ),
    code(
        "language: Verilog",
        "module endmodule always always_ff always_comb always_latch assign reg wire input output inout logic initial begin end posedge \
         negedge parameter localparam if else case casez endcase default for generate endgenerate genvar function endfunction task \
         endtask integer `timescale `define `include `ifdef `endif `ifndef $display $finish $monitor $dumpfile $random $signed \
         $clog2 interface endinterface modport class endclass uvm_component uvm_info bit covergroup endgroup property endproperty \
         assert typedef enum packed signed unsigned timescale",
    ),
    any_case(
        "language: VHDL",
        "library use ieee std_logic_1164 numeric_std all entity architecture of is port generic map in out inout std_logic \
         std_logic_vector unsigned signed signal variable constant process begin end if then elsif else case when downto to rising_edge \
         falling_edge component others generate wait until for loop function return package body integer natural range type \
         to_integer report severity std_ulogic",
    ),
    code(
        "language: Tcl or SDC",
        "set proc puts foreach if elseif else while expr incr lappend lindex llength return create_clock set_input_delay \
         set_output_delay set_false_path set_multicycle_path get_ports get_clocks get_cells get_pins get_nets read_verilog \
         report_timing compile_ultra set_max_delay set_clock_uncertainty current_design link_design place_design route_design \
         synth_design source global upvar namespace package require catch info regexp dict string -period -name -from -to -clock \
         create_generated_clock set_load set_driving_cell set_property write_bitstream all_inputs all_outputs",
    ),
    any_case(
        "language: SPICE netlist",
        ".subckt .ends .model .tran .ac .dc .op .param .include .lib .end .measure .meas .options .option .print .probe .plot .ic \
         .global .temp .step .control .endc .noise .four nmos pmos npn pnp pulse pwl vdd vss gnd",
    ),
    code("language: G-code", ""),
    any_case(
        "language: IEC 61131-3",
        "function_block end_function_block program end_program var var_input var_output var_in_out var_global var_temp end_var end_if \
         end_for end_while end_case end_repeat end_type end_struct ton tof r_trig f_trig ctu ctd bool int dint real time word dword byte \
         if then elsif else for to by do while case of repeat until exit return true false at xic xio ote otl otu retain \
         organization_block end_organization_block data_block type struct array constant lreal uint udint",
    ),
    any_case(
        "language: assembly",
        "adc adcs sbc sbcs umulh smulh umull smull madd msub rev64 rbit clz csel cset csinc cneg cmn tst teq ubfx sbfx bfi uxtb \
         uxth sxtw umov zip1 zip2 uzp1 uzp2 trn1 trn2 pmull pmull2 aese aesd aesmc aesimc sha256h ld1 st1 vld1 vst1 vldr vstr \
         vmov vadd vsub vmul vmull vmlal veor vand vorr vext vshl vshr vswp vdup vrev64 ldmia stmdb stmia vpush vpop movups \
         movaps movdqa movdqu movss movsd addss addsd mulss mulsd subss subsd pxor pand paddd paddq psrlq psllq pshufd pshufb \
         punpcklqdq aesenc aesdec aesenclast pclmulqdq vpxor vpaddd vpaddq vmovdqu vmovdqa vpshufb vpshufd vpclmulqdq bswap rcl \
         rcr sbb cdq cqo movsxd movabs cmova cmovb cmove cmovne cmovz cmovnz cmovc cmovnc sete setne setz setb jns jc jnc loope \
         repne stosb stosd lodsb movsb cpuid rdtsc hlt bge bgt bhi bcc bpl bvs bvc ret.n beqz.n sll srl sllw slli srli srai slt \
         sltu sltiu xori lbu lhu sb bltu bgeu fadd fsub fmul fdiv flw fsw .p2align .type .size .hidden .private_extern .def \
         .endef .set .long .quad .short .hword .zero .space .string .ident .file .weak .comm .bss .rodata .macro .endm .if \
         .endif .else .include .balign .thumb .arm .arch .cpu .code .syntax .unreq .req txa tya inx iny dey clc adc.w lsr.w \
         eor.w \
         mov movl movq movb movw movzx movsx lea leaq push pushq pushl pop popq popl add addl addq sub subl subq cmp cmpl cmpq jmp je jne \
         jz jnz jg jge jl jle ja jb jae jbe call callq ret retq xor xorl xorq and or not shl shr sar imul mul idiv div inc dec nop int \
         syscall test testl leave eax ebx ecx edx esi edi esp ebp rax rbx rcx rdx rsi rdi rsp rbp al ah ax bx cx dx xmm0 xmm1 ldr str ldrb \
         strb ldp stp bl blx bx beq bne b.ne b.eq cbz cbnz adr adrp movk movt movs adds subs lsl lsr asr orr eor bic mvn svc \
         lw sw li la jal jalr addi addiu beqz bnez lui auipc ecall sp lr pc .globl .global .text .data .section .word .byte .asciz \
         .ascii .align .cfi_startproc .cfi_endproc .equ .org section segment global extern db dw dd dq resb resw equ lda sta ldx stx \
         jsr rts rti sei cli bcc bcs",
    ),
    code(
        "language: STIL, WGL or other test pattern",
        "STIL Header Signals SignalGroups Timing WaveformTable Waveforms PatternBurst PatternExec Pattern PatList ScanStructures \
         ScanChain ScanIn ScanOut ScanLength ScanCells Procedures MacroDefs Macro Shift Loop Period Call UserKeywords InOut \
         waveform endwaveform signal endsignal scancell endscancell scanchain endscanchain timeplate endtimeplate pattern endpattern \
         vector scan group_ALL scan_vector tset timeset import_all_undefineds svm_only_file opcode_mode digital_inst compressed \
         repeat loopA halt pinfunc start_label vm_vector instruments",
    ),
    any_case(
        "language: HTML",
        "<html <head <body <div <span <script <style <table <tr <td <th <ul <li <p <a <img <input <form <button <meta <link <!doctype \
         </html </head </body </div </span </script </style </table </tr </td </th </ul </li </p </a </form </button <h1 <h2 <h3 </h1 </h2 \
         <section </section <nav <svg <path <label <select <option <template </template <header <footer <main",
    ),
    code(
        "language: CSS",
        "@include @mixin @extend @use @forward @function @return @each @while @supports @charset @page @layer @container @else @debug \
         overflow-x overflow-y flex-direction flex-wrap flex-grow flex-shrink align-content align-self justify-self place-items gap \
         grid-area grid-column grid-row grid-template-rows grid-gap top left right bottom content cursor float clear opacity visibility \
         vertical-align white-space word-break word-wrap letter-spacing text-transform text-indent text-shadow text-overflow \
         list-style list-style-type border-top border-bottom border-left border-right border-color border-style border-width \
         border-collapse border-spacing outline outline-offset background-image background-position background-repeat background-size \
         padding-top padding-right padding-bottom margin-right margin-inline min-width max-height font-style font animation \
         transform-origin pointer-events user-select appearance box-sizing resize fill stroke stroke-width filter clip-path \
         object-fit table-layout !default rgba inherit initial unset nowrap ease-in-out infinite bolder uppercase pointer hidden \
         scroll baseline monospace sans-serif serif @media @import @keyframes @font-face margin padding color background background-color font-size font-family font-weight \
         border border-radius display flex width height max-width min-height position absolute relative text-align z-index \
         justify-content align-items box-shadow line-height text-decoration overflow transition transform none auto px em rem \
         !important var margin-top margin-left margin-bottom padding-left solid inline-block grid-template-columns",
    ),
    configuration(
        "language: Terraform",
        "resource variable provider module output data terraform locals required_providers source version backend lifecycle \
         for_each depends_on aws_instance aws_s3_bucket azurerm_resource_group google_compute_instance ami instance_type",
    ),
    configuration(
        "language: Dockerfile",
        "FROM RUN COPY ADD WORKDIR ENV EXPOSE ENTRYPOINT CMD ARG USER VOLUME LABEL HEALTHCHECK STOPSIGNAL ONBUILD",
    ),
    configuration(
        "language: Makefile",
        ".PHONY $(MAKE) $(CC) $(CFLAGS) $(LDFLAGS) $(wildcard $(patsubst $(shell $(OBJS) $(SRC) ifeq ifneq ifdef ifndef endif \
         endef CFLAGS LDFLAGS",
    ),
    configuration(
        "language: nginx or Apache configuration",
        "server listen server_name location proxy_pass proxy_set_header root index upstream worker_processes worker_connections \
         ssl_certificate ssl_certificate_key access_log error_log try_files http events include keepalive_timeout gzip \
         add_header rewrite client_max_body_size <VirtualHost </VirtualHost <Directory </Directory ServerName DocumentRoot \
         ErrorLog CustomLog RewriteRule RewriteEngine AllowOverride Require RewriteCond RewriteBase ServerRoot ServerAlias ServerAdmin \
         ServerTokens ServerSignature KeepAlive KeepAliveTimeout MaxKeepAliveRequests StartServers MinSpareServers MaxSpareServers \
         MaxClients MaxRequestsPerChild MinSpareThreads MaxSpareThreads ThreadsPerChild MaxRequestWorkers MaxConnectionsPerChild \
         ThreadLimit ServerLimit LoadModule LogFormat LogLevel TransferLog DirectoryIndex DirectorySlash Options FollowSymLinks \
         SymLinksIfOwnerMatch ExecCGI Indexes MultiViews IncludesNoExec AllowOverrideList Alias AliasMatch ScriptAlias ScriptAliasMatch \
         Redirect RedirectMatch RedirectPermanent ErrorDocument AddType AddHandler AddEncoding AddLanguage AddCharset AddIcon \
         AddIconByType AddIconByEncoding AddOutputFilter AddOutputFilterByType AddInputFilter AddDefaultCharset AddDescription \
         AddAlt SetHandler SetEnv SetEnvIf SetEnvIfNoCase SetOutputFilter SetInputFilter UnsetEnv PassEnv BrowserMatch \
         BrowserMatchNoCase DefaultType DefaultIcon DefaultLanguage LanguagePriority ForceLanguagePriority IndexOptions IndexIgnore \
         IndexOrderDefault ReadmeName HeaderName HostnameLookups UseCanonicalName TypesConfig MIMEMagicFile PidFile LockFile \
         AcceptMutex ScoreBoardFile AccessFileName FileETag EnableSendfile EnableMMAP Timeout Mutex IncludeOptional Include Define \
         ExpiresActive ExpiresByType ExpiresDefault RequestHeader ProxyPass ProxyPassReverse ProxyPassMatch ProxyRequests ProxyVia \
         ProxyPreserveHost ProxyTimeout BalancerMember SSLEngine SSLProtocol SSLCipherSuite SSLHonorCipherOrder SSLCertificateFile \
         SSLCertificateKeyFile SSLCertificateChainFile SSLCACertificateFile SSLVerifyClient SSLOptions SSLSessionCache SSLMutex \
         SSLRandomSeed AuthType AuthName AuthUserFile AuthGroupFile AuthBasicProvider Satisfy DeflateCompressionLevel CacheEnable \
         CacheRoot DavLockDB UserDir VirtualDocumentRoot DocumentRoot NameVirtualHost Listen User Group <IfModule </IfModule \
         <Files </Files <FilesMatch </FilesMatch <Location </Location <LocationMatch </LocationMatch <DirectoryMatch </DirectoryMatch \
         <Proxy </Proxy <Limit </Limit <LimitExcept </LimitExcept <IfVersion </IfVersion <IfDefine </IfDefine <RequireAll \
         </RequireAll <RequireAny </RequireAny <If </If <Else </Else <Macro </Macro fastcgi_param fastcgi_pass fastcgi_index \
         proxy_redirect proxy_buffering proxy_read_timeout proxy_connect_timeout proxy_http_version proxy_cache sendfile tcp_nopush \
         tcp_nodelay types default_type charset autoindex error_page limit_req limit_req_zone limit_conn map geo ssl_protocols \
         ssl_ciphers ssl_prefer_server_ciphers ssl_session_cache ssl_session_timeout log_format deny expires worker_rlimit_nofile \
         multi_accept gzip_types gzip_vary resolver uwsgi_pass auth_basic auth_basic_user_file",
    ),
    configuration("language: YAML", ""),
    configuration("language: INI or properties", ""),
];

/// Words of languages that sentences hold as well, in any case.
pub(super) const EVERYDAY: &str = "\
    a absolute abstract accept add after align alias all also always an and any append apply architecture args array as \
    assert assign assigning assoc async at author auto background backend base be because before begin between binary bit body bold \
    bool border break build bulk but by byte call called cancel case cast cat catch cells center char character class clear clone \
    close code collect color comment commit common complex component compressed compute concat condition configuration const constant \
    constraint constructor contains context continue control copy count create cursor cut data date db debug declare decimal \
    default define defined delegate delete derive desc describe description digital dimension display distinct divide division do document \
    done double downto drop each editor elemental else elseif empty end ensure entity enum environment equals equ err error evaluate event events \
    exception exceptions exec execute exist exists exit expect export exporting exports extend extends external factory fallthrough false fetch \
    figure file filler filter final finally find first flex float font footer for foreach form format forms found free friend from fun \
    function functor generate generic get given giving global go gold grid grant group guard halt has header height hold host html http id \
    identification identity if implement implementation implements implicit import importing imports in include index info init \
    initial inline inner input inspect instance instruments int integer intent interface internal into io is it item join key keys kind label \
    late launch lazy left legend length let library license like limit line link linkage list listen load local location lock logic logical long loop lower ls \
    main make map margin mark master match math matrix max maybe measure message method methods min mod mode model module monitor move multiply mutable \
    mutate name names natural nav never new next nil no none normal not nothing null number object of off offset oh ok on once one ones only \
    open operator option optional options or order organization other others otherwise our out outer output over override package \
    packed pad padding page param parameter parameters parent partial partition pass paste path pattern pattern pause per perform period pi pic picture \
    plan plot port position post precision primary print printing private procedure process program promise property properties protected protocol \
    provider public pulse pure push puts quote raise random range read real receive record red ref references register using shared relative release \
    remove repeat replace replacing report require required rescue reshape resource result retain return returns reverse right rollback root round row run scalar scan \
    script sealed section segment select self seq set severity shift short show signal signals signed size solid some sort source spawn split stand start \
    state static step stop stream strict string strong struct structure sub subtract sum summary super suspend switch table tables tag task tee template temp test \
    text than that then this throw throws thru time timer times timing title to top total trait transaction transform transition trap trigger true try type types typed \
    under union unique unit unknown unless until update upstream use user using val value values var variable variables vector version view virtual void volatile volume wait was \
    weak when where while width will window with word write yes yield zip server root rewrite environment label expose arg user add copy run from \
    la li le die das der und sub mov ja je al sa sp bl des les par pour que es el lo no si in on im an al del della con ma son este esta per il un une das dos não em os as \
    pop inc dec int mul div str and or not xor nop bit lw sw me eg ie st ld rd md op ip pc lr ac dc ic ah ax li ton tof em rem px all id nor ask is of it me my no ad ah am we he us \
    pass left right gnd global include table main form input button p a th section path style head body span link select option meta header footer std \
    read write open close format list tuple dict set sorted open args super str len range int map filter \
    eq ne lt gt ge ref keys values defined our my shift local use strict warnings package c t fn ns ok na it let before after expect describe free auto new delete long short double char float register signed pd df np plt tar \
    bottom content opacity visibility gap appearance resize fill stroke animation pointer hidden scroll baseline uppercase infinite \
    inherit outline indexes alias redirect timeout mutex satisfy geo types charset deny expires resolver symbol similar recover panic cap \
    adds allocate alter await bless bolder car coalesce companion console crate cross defer deriving dim enumerate except explode \
    extension foreign full having helm inherits insert iota leave locals occurs overflow pairs pandas prototype qualified reduce \
    rune tallying torch transient uses varying waveform wire lui sta sete rand esp bic \
    inject freeze net reg ver sc autoload collect axes move macro title order serif pointer listen testing similar inline top debug each use \
    make find sort cat echo export source kind macro quote of case then else fi esac done do del md rd call start exist exit go others body is identity sei cli loop recur seq compile place route info incr";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_languages_fits_a_word() {
        assert!(LANGUAGES.len() <= 64);
    }
}
